"""The wrapper with real graphs and real nowcasters, and the code of the paper's review thread."""

from __future__ import annotations

import copy
import pickle
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nino import NiNo
from nino.graphs import neural_graph
from nino.nowcasters import NOWCASTERS, WNN, LineFit, WNNPlus, build_nowcaster, save_nowcaster


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small NiNo with random weights, as a file."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = build_nowcaster("nino", hidden=16, word_positions=0)
        with torch.no_grad():
            for p in net.parameters():
                p.add_(0.02 * torch.randn_like(p))
    folder = tmp_path_factory.mktemp("run") / "checkpoints"
    folder.mkdir()
    save_nowcaster(net, folder / "nino.safetensors")
    # the released files are torch's
    torch.save({"state_dict": net.state_dict(), "model_args": {"hid": 16, "max_feat_size": 9}}, folder / "nino.pt")
    return folder / "nino.safetensors"


def images():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(256, 1, 8, 8, generator=generator)
    return x, x.flatten(1)[:, :4].argmax(1)


def small_convnet(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 6, 3),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 4),
        )


def test_the_code_of_the_review_thread_runs_as_it_stands(checkpoint, monkeypatch):
    """The wrapper's code letter by letter, for a tiny model; see reference/paper/review-thread.txt."""
    monkeypatch.chdir(checkpoint.parent.parent)
    model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 4))
    inputs = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    labels = inputs[:, :4].argmax(1)
    losses, ks = [], []

    opt = NiNo(base_opt=torch.optim.AdamW(model.parameters(), lr=1e-3),
               ckpt='checkpoints/nino.pt',
               model=model,
               period=1000,
               max_train_steps=10000)  # fmt: skip
    opt.register_nowcast_post_hook(lambda opt, record: ks.append((record.step, record.k, record.accepted)))
    for step in range(10000):
        if opt.need_grads:  # True for Adam steps (e.g. 0-999)
            opt.zero_grad()
            data, targets = inputs[step % 4 :: 4], labels[step % 4 :: 4]  # get data
            outputs = model(data)  # forward pass
            loss = F.cross_entropy(outputs, targets)  # loss
            loss.backward()  # grads for Adam
            losses.append(loss.detach())
        opt.step()  # Adam step or, every 1000 steps, nowcast params using NiNo

    schedule = zip(range(1000, 10001, 1000), [40, 33, 26, 21, 16, 11, 8, 5, 3, 1], [True] * 10, strict=True)
    assert ks == list(schedule)
    assert len(losses) == 9990 and losses[-1] < 0.5 * losses[0]


def train(model, opt, steps, start=0):
    inputs, labels = images()
    for step in range(start, start + steps):
        if opt.need_grads:
            opt.zero_grad()
            F.cross_entropy(model(inputs[step % 4 :: 4]), labels[step % 4 :: 4]).backward()
        opt.step()
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_a_nowcast_is_the_nowcaster_s_prediction(checkpoint):
    from nino.nowcasters import load_nowcaster

    model = small_convnet()
    opt = NiNo(torch.optim.Adam(model.parameters(), lr=3e-3), checkpoint, model, period=10, max_train_steps=20)
    states = []
    for step in range(10):
        if step % 2:
            states.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
        after = train(model, opt, 1, step)
    expected = load_nowcaster(checkpoint).predict(neural_graph(model), torch.stack(states, 1), 40)
    assert torch.equal(after, expected)


def test_resume_and_a_second_model_with_the_same_nowcaster(checkpoint):
    def start(model):
        return NiNo(torch.optim.Adam(model.parameters(), lr=3e-3), checkpoint, model, period=10, max_train_steps=30)

    whole_model = small_convnet()
    whole = train(whole_model, start(whole_model), 30)
    model = small_convnet()
    opt = start(model)
    train(model, opt, 17)
    again = small_convnet(seed=9)
    again.load_state_dict(model.state_dict())
    resumed = start(again)
    resumed.load_state_dict(opt.state_dict())
    assert torch.equal(train(again, resumed, 13, 17), whole)

    # one nowcaster object serves models of different kinds
    mlp = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 4))
    shared = NiNo(torch.optim.Adam(mlp.parameters()), None, mlp, 10, 20, nowcaster=opt.nowcaster)
    train(mlp, shared, 10)
    assert torch.equal(train(again, resumed, 0, 30), whole) and shared.counts["kept"] == 1


@pytest.mark.parametrize("name", sorted(NOWCASTERS))
def test_every_nowcaster_without_weights(name):
    model = small_convnet()
    opt = NiNo(torch.optim.Adam(model.parameters()), None, model, 10, 20, nowcaster=NOWCASTERS[name](), max_horizon=2)
    before = train(model, opt, 9)
    after = train(model, opt, 1, 9)
    assert opt.counts["kept"] == 1 and torch.equal(before, after) == (name == "identity")
    train(model, opt, 11, 10)


def test_wnn_predicts_one_period_ahead():
    from nino.nowcasters import WNN

    model = small_convnet()
    opt = NiNo(torch.optim.Adam(model.parameters()), None, model, 10, nowcaster=WNN())
    train(model, opt, 20)
    assert opt.last_nowcast.k == 5 and opt.last_nowcast.step == 20
    with pytest.raises(ValueError, match=r"`horizons` \(=\[4\]\) must be 5, the one horizon that WNN predicts"):
        NiNo(torch.optim.Adam(model.parameters()), None, model, 10, nowcaster=WNN(), horizons=4)


def test_a_graph_of_the_wrapped_model_will_do():
    model = small_convnet()
    wrapped = nn.DataParallel(model)
    opt = NiNo(
        torch.optim.Adam(model.parameters()), None, wrapped, 10, 20, nowcaster=LineFit(), graph=neural_graph(wrapped)
    )
    train(model, opt, 10)
    assert opt.counts["kept"] == 1 and len(opt.nowcasting.targets()) == 6


class Unknown(nn.Module):
    """No rule knows what becomes of the spline's parameters."""

    def __init__(self, trained=True):
        super().__init__()
        self.spline = nn.Parameter(torch.eye(4) + 0.1)
        self.linear = nn.Linear(64, 4).requires_grad_(trained)

    def forward(self, x):
        return self.linear(x.flatten(1)) * torch.linalg.det(self.spline)


def test_what_nothing_can_place_is_left_to_the_base_optimizer(checkpoint, caplog):
    model = Unknown()
    opt = NiNo(torch.optim.Adam(model.parameters()), checkpoint, model, 10, 20)
    assert opt.graph is None  # until the first forward pass
    with caplog.at_level("INFO"):
        train(model, opt, 9)
    assert opt.graph.carried == ("spline",) and "left to the base optimizer: spline (" in caplog.text
    assert caplog.text.count("neural graph (released, recorded)") == 1
    assert not any(t.parameter is model.spline for t in opt.nowcasting.targets())
    spline, weight = model.spline.detach().clone(), model.linear.weight.detach().clone()
    train(model, opt, 1, 9)
    assert torch.equal(model.spline, spline) and not torch.equal(model.linear.weight, weight)
    alone = NiNo(torch.optim.Adam(model.parameters()), None, model, 10, 20, nowcaster=None)
    train(model, alone, 10)


class Routed(nn.Module):
    """Two experts, of which rows of positive sums take the first; and a number that tells the two ways apart."""

    def __init__(self):
        super().__init__()
        self.spline = nn.Parameter(torch.eye(4) + 0.1)
        self.experts = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))

    def forward(self, x):
        y = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            (rows,) = torch.where((x.sum(-1) < 0) == bool(i))
            if len(rows):
                y = y.index_add(0, rows, expert(x[rows]))
        return y * torch.linalg.det(self.spline)


def test_what_the_first_pass_does_not_reach_is_said_in_a_line_of_its_own(checkpoint, caplog):
    model = Routed()
    opt = NiNo(torch.optim.Adam(model.parameters()), checkpoint, model, 10, 20)
    with caplog.at_level("WARNING", logger="nino.graphs"):
        model(torch.ones(2, 4))
    assert {"experts.1.weight", "experts.1.bias"} <= set(opt.graph.carried)
    (unread,) = [r.getMessage() for r in caplog.records if "did not use them" in r.getMessage()]
    assert (
        unread.startswith("parameters 'experts.1.weight', 'experts.1.bias': ") and "pass graph=neural_graph" in unread
    )
    (other,) = [r.getMessage() for r in caplog.records if r.getMessage().startswith("left to the base optimizer: ")]
    assert "spline (" in other and "experts" not in other


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["copy", "pickle"])
def test_copies_made_before_the_graph_is_recorded(checkpoint, copied):
    model = Unknown()
    opt = NiNo(torch.optim.Adam(model.parameters()), checkpoint, model, 10, 20)
    alone = copied(model)
    alone(images()[0][:2])
    assert not alone._forward_pre_hooks and not alone._forward_pre_hooks_with_kwargs and opt.graph is None
    twin, its = copied((model, opt))
    twin(images()[0][:2])
    assert its.graph.carried == ("spline",) and opt.graph is None and not twin._forward_pre_hooks
    model(images()[0][:2])
    assert opt.graph.carried == ("spline",) and not model._forward_pre_hooks


def test_nowcasters_without_wiring_need_no_graph():
    model = Unknown()
    opt = NiNo(torch.optim.Adam(model.parameters()), None, model, 10, 20, nowcaster=LineFit())
    assert not opt.graph.carried
    train(model, opt, 9)
    spline = model.spline.detach().clone()
    train(model, opt, 1, 9)
    assert opt.counts["kept"] == 1 and not torch.equal(model.spline, spline)


def test_a_model_of_which_nothing_trained_lies_on_the_graph_is_refused(checkpoint):
    model = Unknown(trained=False)
    opt = NiNo(torch.optim.Adam([model.spline]), checkpoint, model, 10, 20)
    with pytest.raises(ValueError, match=r"none of the 1 trained parameters lies on the neural graph \('spline': "):
        train(model, opt, 1)


def test_it_is_refused_when_the_wrapper_is_made_where_its_graph_is_known_then(checkpoint):
    message = r"none of the 2 trained parameters lies on the neural graph \('b.weight': no operation reads it\)"
    model = nn.ModuleDict({"a": nn.Linear(4, 2), "b": nn.Linear(4, 2)})
    model.forward = lambda x: model["a"](x)
    graph = neural_graph(model, "exact", example=torch.randn(2, 4))
    with pytest.raises(ValueError, match=message):
        NiNo(torch.optim.Adam(model["b"].parameters()), checkpoint, model, 10, 20, graph=graph)
    NiNo(torch.optim.Adam(model.parameters()), checkpoint, model, 10, 20, graph=graph)


def test_one_line_says_what_the_graph_holds(checkpoint, caplog):
    model = small_convnet()
    with caplog.at_level("INFO", logger="nino.graphs"):
        NiNo(torch.optim.Adam(model.parameters()), checkpoint, model, 10, 20)
    (line,) = [r.getMessage() for r in caplog.records if r.name == "nino.graphs"]
    assert re.match(r"neural graph \(released, traced\): \d+ nodes in \d+ groups, \d+ blocks; 100.0% of ", line)


class NotRecorded(nn.Module):
    """All kinds of parameters, and no forward: the training calls something else."""

    def __init__(self):
        super().__init__()
        self.words, self.conv, self.up = nn.Embedding(7, 4), nn.Conv2d(4, 4, 3), nn.ConvTranspose2d(4, 3, 2)
        self.norm, self.rnn, self.pair = nn.LayerNorm(4), nn.GRU(4, 5), nn.Bilinear(4, 5, 2)
        self.scale, self.stack = nn.Parameter(torch.ones(())), nn.Parameter(torch.randn(2, 3, 4))

    def loss(self):
        return sum((p.sin() * p).sum() for p in self.parameters()) * self.scale


@pytest.mark.parametrize("make", [LineFit, WNNPlus, WNN])
def test_nowcasters_without_wiring_take_every_model(make):
    torch.manual_seed(0)
    model, nowcaster = NotRecorded(), make()
    horizons = nowcaster.fixed_horizon or [3, 1]
    opt = NiNo(torch.optim.Adam(model.parameters()), None, model, 10, 20, nowcaster=nowcaster, horizons=horizons)
    assert not opt.graph.carried and {b.name for b in opt.graph.blocks} == {n for n, _ in model.named_parameters()}
    for _ in range(20):
        if opt.need_grads:
            opt.zero_grad()
            model.loss().backward()
        opt.step()
    assert opt.counts["kept"] == 2
    with pytest.raises(ValueError, match=r"NotRecorded: its neural graph is recorded from a forward pass"):
        neural_graph(model)


@pytest.mark.parametrize("which", ["NiNo", "LineFit"])
def test_lazy_modules_are_refused_before_their_first_pass(checkpoint, which):
    model = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(2))
    nowcaster = {"nowcaster": LineFit()} if which == "LineFit" else {"ckpt": checkpoint}
    message = "parameter '0.weight' has no shape yet: run the model once before"
    with pytest.raises(ValueError, match=message):
        NiNo(torch.optim.SGD(model.parameters(), lr=0.1), model=model, period=10, max_train_steps=20, **nowcaster)
    with pytest.raises(ValueError, match=message):
        neural_graph(model)


def test_constructing_and_nowcasting_leave_the_random_numbers_alone(checkpoint):
    model = small_convnet()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    opt = NiNo(torch.optim.Adam(model.parameters()), checkpoint, model, 10, 20)
    train(model, opt, 20)
    assert torch.equal(torch.rand(3), expected)


def test_the_first_step_of_a_training_in_mixed_precision_counts(checkpoint):
    model = Unknown()
    NiNo(torch.optim.SGD(model.parameters(), lr=1.0), checkpoint, model, 10, 20)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(images()[0][:2]).float().pow(2).mean()
    assert type(loss) is torch.Tensor
    loss.backward()
    assert type(model.linear.weight.grad) is torch.Tensor and bool(model.linear.weight.grad.any())


def test_a_step_inside_autocast_is_computed_in_float32(checkpoint):
    def trained(autocast):
        model = small_convnet()
        opt = NiNo(torch.optim.Adam(model.parameters()), checkpoint, model, 10, 20)
        train(model, opt, 9)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            return train(model, opt, 1, 9)

    assert torch.equal(trained(True), trained(False))


def test_a_missing_checkpoint_is_an_error_at_once():
    model = small_convnet()
    with pytest.raises(FileNotFoundError, match="nowhere.pt"):
        NiNo(torch.optim.Adam(model.parameters()), "nowhere.pt", model, 10, 20)


def test_a_released_checkpoint(shared):
    model = small_convnet()
    opt = NiNo(torch.optim.Adam(model.parameters()), shared / "pretrained" / "nino_no_posw.pt", model, 10, 20)
    before = train(model, opt, 9)
    after = train(model, opt, 1, 9)
    assert opt.counts["kept"] == 1 and 0 < (after - before).norm() < before.norm()
