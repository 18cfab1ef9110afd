"""What training holds still stays, in the wrapper and in `nino step` alike."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nino.nowcasters import build_nowcaster, load_nowcaster
from nino.offline import step as offline
from nino.optim import NiNo
from nino.optim.still import frozen_masks, unmoved


class Words(nn.Module):
    """A padding row, rows whose gradient is set to zero, and a head that no loss reads."""

    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(12, 4, padding_idx=0)
        self.out = nn.Linear(4, 12)
        self.aux = nn.Linear(4, 3)
        mask = torch.ones(12, 1)
        mask[1:5] = 0
        self.emb.weight.register_hook(lambda g: g * mask)

    def forward(self, ids):
        h = torch.tanh(self.emb(ids))
        return self.out(h), self.aux(h)


def train(tools, nowcaster, steps=10, folder=None, graph=True, **options):
    torch.manual_seed(0)
    model, x = Words(), torch.randint(0, 12, (32, 3))
    options |= {"graph": tools.graph(model)} if graph else {}
    opt = NiNo(
        torch.optim.Adam(model.parameters(), lr=1e-2),
        model=model,
        nowcaster=nowcaster,
        period=10,
        horizons=8,
        **options,
    )
    for number in range(1, steps + 1):
        if folder is not None and number % 2 == 0:
            torch.save(model.state_dict(), folder / f"step_{number}.pt")
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        opt.zero_grad()
        logits, _ = model(x)
        F.cross_entropy(logits.flatten(0, 1), x.roll(1, 1).flatten()).backward()
        opt.step()
    return model, opt, before


def test_elements_that_are_equal_in_all_states_keep_their_bits(tools):
    model, opt, before = train(tools, tools.const(3.0))
    assert torch.equal(model.emb.weight[:5], before["emb.weight"][:5]) and bool((model.emb.weight[0] == 0).all())
    assert torch.equal(model.aux.weight, before["aux.weight"]) and torch.equal(model.aux.bias, before["aux.bias"])
    assert bool((model.emb.weight[5:] == 3.0).all() and (model.out.weight == 3.0).all())
    moved = torch.cat([(p.detach() - before[n]).flatten() for n, p in model.named_parameters()])
    assert opt.last_nowcast.norm == pytest.approx(float(moved.norm()), rel=1e-5)


def test_they_are_nowcast_as_all_others_where_asked(tools):
    model, _, _ = train(tools, tools.const(3.0), still="predict")
    assert all(bool((p == 3.0).all()) for p in model.parameters())


def test_one_state_shows_no_movement(tools):
    assert unmoved([torch.ones(3)]) is None
    model, _, _ = train(tools, tools.const(3.0, context=1))
    assert all(bool((p == 3.0).all()) for p in model.parameters())


def test_masks_freeze_elements_in_any_case(tools):
    rows = torch.zeros(12, 1, dtype=torch.bool)
    rows[7] = True
    bias = torch.tensor([True] + [False] * 11)
    frozen = {"emb.weight": rows, "out.bias": bias}
    model, _, before = train(tools, tools.const(3.0), still="predict", frozen=frozen)
    assert torch.equal(model.emb.weight[7], before["emb.weight"][7]) and model.out.bias[0] == before["out.bias"][0]
    model.emb.weight.data[7], model.out.bias.data[0] = 3.0, 3.0
    assert all(bool((p == 3.0).all()) for p in model.parameters())


def test_a_tied_parameter_may_be_frozen_by_either_name():
    model = nn.ModuleDict({"wte": nn.Embedding(5, 4), "head": nn.Linear(4, 5, bias=False)})
    model["head"].weight = model["wte"].weight
    first, last = torch.arange(5)[:, None] == 0, torch.arange(5)[:, None] == 4
    ((mask),) = frozen_masks({"wte.weight": first, "head.weight": last}, model).values()
    assert torch.equal(mask, (first | last).expand(5, 4))


@pytest.mark.parametrize(
    "options, said",
    [
        ({"still": "stay"}, r"`still` \(='stay'\) must be 'keep' .* or 'predict'"),
        ({"frozen": {"emb": torch.ones(12, 4, dtype=torch.bool)}}, "`frozen` names 'emb', which is no parameter"),
        ({"frozen": {"out.bias": torch.ones(12)}}, r"`frozen\['out.bias'\]` is torch.float32: pass a bool tensor"),
        ({"frozen": {"out.bias": [True] * 12}}, r"`frozen\['out.bias'\]` is list: pass a bool tensor"),
        ({"frozen": {"out.bias": torch.ones(5, dtype=torch.bool)}}, r"has shape \(5,\), which does not broadcast .*12"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused_by_name(tools, options, said):
    with pytest.raises(ValueError, match=said):
        train(tools, tools.line(), steps=0, **options)


def test_the_wrapper_and_the_offline_step_follow_one_rule(tools, tmp_path):
    torch.manual_seed(1)
    for still in ("keep", "predict"):
        folder = tmp_path / still
        folder.mkdir()
        net = build_nowcaster("nino", hidden=8)
        model, _, before = train(tools, net, folder=folder, graph=False, unknown="carry", still=still)
        done = offline(folder, net, k=8, model=Words(), unknown="carry", still=still)
        written = torch.load(done.path, weights_only=True)
        for name, p in model.named_parameters():
            assert torch.allclose(written[name], p, atol=1e-6), name
        kept = torch.equal(model.emb.weight[:5], before["emb.weight"][:5])
        assert kept == torch.equal(written["emb.weight"][:5], before["emb.weight"][:5]) == (still == "keep")
    with pytest.raises(ValueError, match=r"`still` \(='no'\)"):
        offline(folder, net, k=8, model=Words(), still="no")
    assert len(list((folder / "nowcast").iterdir())) == 1


@pytest.mark.shared
@pytest.mark.parametrize("file", ["nino_no_posw.pt", "nino_mlp.pt"])
def test_released_weights_leave_padding_and_unused_heads_alone(tools, shared, file):
    model, opt, before = train(tools, load_nowcaster(next(shared.glob(f"**/{file}"))), graph=False, unknown="carry")
    assert opt.counts["kept"] == 1
    assert torch.equal(model.emb.weight[:5], before["emb.weight"][:5])
    assert torch.equal(model.aux.weight, before["aux.weight"]) and torch.equal(model.aux.bias, before["aux.bias"])
    assert not torch.equal(model.emb.weight[5:], before["emb.weight"][5:])
