import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from nino.specs import RecipeSpec
from nino.specs.recipe import AroundSpec
from nino.tasks import build_optimizer
from nino.tasks.muon import MuonAdamW, hidden_weights
from nino.tasks.recipe import decay_groups


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.norm = nn.LayerNorm(4)
        self.hidden = nn.Linear(4, 4)
        self.head = nn.Linear(4, 7)

    def forward(self, x):
        return self.head(torch.relu(self.hidden(self.norm(self.embedding(x)))))


def net() -> Net:
    torch.manual_seed(0)
    return Net()


def recipe(optimizer: str, weight_decay: float = 0.0, lr: float = 1e-2) -> RecipeSpec:
    return RecipeSpec(optimizer, lr, steps=10, batch_size=1, weight_decay=weight_decay)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int, start: int = 0) -> None:
    for step in range(start, start + steps):
        x = torch.arange(5) + step % 3
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), (x + 1) % 7).backward()
        optimizer.step()


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "muon"])
def test_every_parameter_is_trained_and_the_loss_falls(name):
    model = net()
    x = torch.arange(5)
    before = [p.detach().clone() for p in model.parameters()]
    loss = nn.functional.cross_entropy(model(x), (x + 1) % 7)
    train(model, build_optimizer(recipe(name, 1e-2), model), 30)
    assert nn.functional.cross_entropy(model(x), (x + 1) % 7) < loss
    assert all(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "muon"])
def test_biases_alone_are_not_decayed(name):
    model = net()
    optimizer = build_optimizer(recipe(name, 0.3), model)
    decayed = {id(p) for group in optimizer.param_groups for p in group["params"] if group["weight_decay"] == 0.3}
    plain = {id(p) for group in optimizer.param_groups for p in group["params"] if group["weight_decay"] == 0.0}
    assert plain == {id(p) for n, p in model.named_parameters() if n.endswith("bias")}
    assert decayed == {id(p) for n, p in model.named_parameters() if not n.endswith("bias")}


def test_frozen_parameters_are_left_out():
    model = net()
    model.embedding.weight.requires_grad_(False)
    optimizer = build_optimizer(recipe("adamw", 0.1), model)
    assert id(model.embedding.weight) not in {id(p) for group in optimizer.param_groups for p in group["params"]}


def test_adam_is_pytorchs_adam():
    ours, plain = net(), net()
    train(ours, build_optimizer(recipe("adam"), ours), 5)
    train(plain, torch.optim.Adam(plain.parameters(), lr=1e-2), 5)
    torch.testing.assert_close(list(ours.parameters()), list(plain.parameters()))


def test_muon_takes_the_hidden_weights_and_resumes():
    model, other = net(), net()
    assert [id(p) for p in hidden_weights(model)] == [id(model.hidden.weight)]
    optimizer = build_optimizer(recipe("muon", 1e-2), model)
    train(model, optimizer, 4)
    resumed = build_optimizer(recipe("muon", 1e-2), other)
    other.load_state_dict(model.state_dict())
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(model, optimizer, 4, start=4)
    train(other, resumed, 4, start=4)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_muon_takes_filters_as_matrices(layout):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3, bias=False), nn.Flatten(), nn.Linear(6, 2))
    assert [id(p) for p in hidden_weights(model)] == [id(model[1].weight)], "the first one reads the input"
    matrix = nn.Parameter(model[1].weight.detach().flatten(1).clone())
    plain = torch.optim.Muon([matrix], lr=1e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    model.to(memory_format=layout)
    ours = MuonAdamW(model, 1e-2, 0.1)
    for step in range(3):
        ours.zero_grad()
        model(torch.randn(5, 3, 5, 5, generator=torch.Generator().manual_seed(step))).square().sum().backward()
        matrix.grad = model[1].weight.grad.flatten(1).clone()
        ours.step()
        plain.step()
        assert torch.equal(model[1].weight.flatten(1), matrix)
    assert model[1].weight.is_contiguous(memory_format=layout)
    assert ours.state_dict()["state"][0]["momentum_buffer"].shape == matrix.shape
    again = MuonAdamW(model, 1e-2, 0.1)
    again.load_state_dict(ours.state_dict())
    again.step()
    plain.step()
    assert torch.equal(model[1].weight.flatten(1), matrix)


def test_muon_follows_a_scheduler():
    model = net()
    optimizer = build_optimizer(recipe("muon"), model)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0)
    before = [p.detach().clone() for p in model.parameters()]
    train(model, optimizer, 1)
    scheduler.step()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_optimizers_from_outside_get_groups_rate_decay_and_options():
    model = net()
    made = build_optimizer(replace(recipe("torch.optim:RMSprop", 0.3), options={"alpha": 0.5}), model)
    assert type(made) is torch.optim.RMSprop
    assert [(g["weight_decay"], g["lr"], g["alpha"]) for g in made.param_groups] == [(0.3, 1e-2, 0.5), (0.0, 1e-2, 0.5)]
    plain = net()
    train(model, made, 5)
    train(plain, torch.optim.RMSprop(decay_groups(plain, 0.3), lr=1e-2, alpha=0.5), 5)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True))
    around = AroundSpec("pytorch_optimizer:Lookahead", {"k": 3})
    outer = build_optimizer(replace(recipe("adamw", 0.3), around=around), net())
    assert type(outer.optimizer) is torch.optim.AdamW and outer.k == 3


def test_our_optimizers_take_their_options():
    groups = build_optimizer(replace(recipe("adam"), options={"betas": [0.8, 0.9], "eps": 1e-3}), net()).param_groups
    assert (*groups[0]["betas"], groups[0]["eps"]) == (0.8, 0.9, 1e-3)
    assert build_optimizer(recipe("sgd"), net()).param_groups[0]["momentum"] == 0.9
    assert build_optimizer(replace(recipe("sgd"), options={"momentum": 0.5}), net()).param_groups[0]["momentum"] == 0.5
    assert (
        build_optimizer(replace(recipe("muon"), options={"nesterov": False}), net()).param_groups[0]["nesterov"]
        is False
    )


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("torch.optim:LBFGS", {}, "recipe.optimizer .=torch.optim:LBFGS.: its steps need 'closure'"),
        ("torch.optim:RMSprop", {"alpha": -1.0}, "recipe.optimizer .=torch.optim:RMSprop.: Invalid alpha value: -1.0"),
        ("torch.optim:RMSprop", {"beta": 1.0}, "got an unexpected keyword argument 'beta'"),
        ("torch.nn:Linear", {}, "recipe.optimizer .=torch.nn:Linear.: "),
        ("types:SimpleNamespace", {}, "recipe.optimizer .=types:SimpleNamespace.: "),
        ("no_such_module:Lion", {}, "there is no installed module no_such_module"),
    ],
)
def test_unusable_optimizers_from_outside_are_refused_in_one_line(name, options, says):
    with pytest.raises(ValueError, match=says) as error:
        build_optimizer(replace(recipe(name), options=options), net())
    assert "\n" not in str(error.value)


def test_unusable_recipes_are_refused():
    with pytest.raises(ValueError, match="recipe.optimizer is 'lion'; allowed are adam, adamw, muon, sgd"):
        build_optimizer(recipe("lion"), net())
    with pytest.raises(ValueError, match="Embedding has no hidden matrices or filters"):
        MuonAdamW(nn.Embedding(3, 2), 0.1, 0.0)
