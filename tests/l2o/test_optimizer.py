"""The learned optimizer as an optimizer: features, updates, the gradient that teaches it, its file."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from torch import nn

from nino.l2o import L2O, L2ONet, load_l2o, save_l2o
from nino.l2o import optimizer as of_optimizer
from nino.l2o.features import NUM_FEATURES, accumulate, feature_parts, features, fresh_state
from nino.nowcasters import build_nowcaster, load_nowcaster, save_nowcaster


def some_net(seed: int = 0) -> L2ONet:
    """One that moves parameters."""
    net = L2ONet(8, seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        nn.init.normal_(net.out.weight, std=0.5)
    return net


def quadratic(steps: int, opt: torch.optim.Optimizer, x: nn.Parameter) -> list[float]:
    losses = []
    for _ in range(steps):
        opt.zero_grad()
        loss = (x - 1).square().sum()
        loss.backward()
        opt.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("shape", [(6, 4), (5,), (4, 3, 3, 3), (1,), ()])
def test_features_of_every_shape(shape: tuple[int, ...]) -> None:
    parameter, gradient = torch.randn(shape), torch.randn(shape)
    gradient = 1e-3 * (gradient + 0.1 * gradient.sign())
    state = fresh_state(parameter)
    for _ in range(3):
        accumulate(state, gradient)
    found = features(parameter, gradient, state, 3)
    assert found.shape == (parameter.numel(), NUM_FEATURES) == (parameter.numel(), 39)
    assert found.isfinite().all()
    # whatever the scale of the loss, an optimizer sees the same
    large = fresh_state(parameter)
    for _ in range(3):
        accumulate(large, 100 * gradient)
    torch.testing.assert_close(features(parameter, 100 * gradient, large, 3), found, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("shape", [(6, 4), (5,), (4, 3, 3, 3), ()])
@pytest.mark.parametrize("elements", [1, 9, 1000])
def test_features_in_parts_are_those_of_the_whole(shape: tuple[int, ...], elements: int) -> None:
    parameter, gradient = torch.randn(shape), torch.randn(shape)
    state = fresh_state(parameter)
    accumulate(state, gradient)
    whole = features(parameter, gradient, state, 1)
    places, parts = zip(*feature_parts(parameter, gradient, state, 1, elements), strict=True)
    assert [i for place in places for i in range(place.start, place.stop)] == list(range(parameter.numel()))
    assert all(len(part) <= max(elements, parameter[:1].numel() if shape else 1) for part in parts)
    torch.testing.assert_close(torch.cat(parts), whole)


def test_a_tensor_is_updated_in_parts_as_it_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    start, pull = torch.randn(8, 6), torch.randn(8, 6)
    ends = []
    for elements in (2**20, 12):
        monkeypatch.setattr(of_optimizer, "ELEMENTS", elements)
        parameter = nn.Parameter(start.clone())
        opt = L2O([parameter], some_net())
        for _ in range(5):
            parameter.grad = parameter.detach() - pull
            opt.step()
        ends.append(parameter.detach())
    assert not torch.equal(ends[0], start)
    torch.testing.assert_close(ends[0], ends[1])


def test_accumulators_are_running_means() -> None:
    gradients = torch.randn(40, 3, 2)
    state = fresh_state(gradients[0])
    for gradient in gradients:
        accumulate(state, gradient)
    weights = 0.9 ** torch.arange(39.0, -1, -1)
    torch.testing.assert_close(state["momenta"][0], 0.1 * torch.einsum("t,tij->ij", weights, gradients))
    torch.testing.assert_close(state["rows"][0], 0.1 * torch.einsum("t,tij->i", weights, gradients**2) / 2)
    torch.testing.assert_close(state["columns"][0], 0.1 * torch.einsum("t,tij->j", weights, gradients**2) / 3)


def test_features_permute_with_the_rows_and_columns() -> None:
    parameter, gradient = torch.randn(5, 4), torch.randn(5, 4)
    rows, columns = torch.randperm(5), torch.randperm(4)

    def seen(p: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        state = fresh_state(p)
        accumulate(state, g)
        return features(p, g, state, 1).view(*p.shape, -1)

    moved = seen(parameter[rows][:, columns], gradient[rows][:, columns])
    torch.testing.assert_close(moved, seen(parameter, gradient)[rows][:, columns])


def test_one_that_has_learned_nothing_does_nothing() -> None:
    x = nn.Parameter(torch.randn(3, 2))
    before = x.detach().clone()
    quadratic(4, L2O([x], L2ONet()), x)
    assert torch.equal(x, before)


def test_the_gradient_of_an_unroll() -> None:
    """Against autograd through the same updates, written out, features and gradients of the losses held fixed."""
    net, x = some_net(), nn.Parameter(torch.linspace(-1, 1, 6).view(3, 2))
    opt = L2O([x], net)
    seen, gradients = [], []
    state = fresh_state(x.detach())
    opt.open_unroll()
    for step in range(1, 4):
        opt.zero_grad()
        (x - 1).square().sum().backward()
        gradients.append(x.grad.clone())
        accumulate(state, x.grad)
        seen.append(features(x, x.grad, state, step))
        opt.step()
    objective = opt.close_unroll()
    found = torch.autograd.grad(objective, list(net.parameters()))
    updates = [net(each) for each in seen]
    plain = -(updates[0] * gradients[1].flatten()).sum()
    plain = plain - ((updates[0] + updates[1]) * gradients[2].flatten()).sum()
    for ours, theirs in zip(found, torch.autograd.grad(plain, list(net.parameters())), strict=True):
        torch.testing.assert_close(ours, theirs)
        assert theirs.abs().sum() > 0


def test_unrolling_changes_no_step() -> None:
    ends = []
    for unrolled in (False, True):
        x = nn.Parameter(torch.linspace(-1, 1, 6).view(3, 2))
        opt = L2O([x], some_net())
        if unrolled:
            opt.open_unroll()
        quadratic(4, opt, x)
        ends.append(x.detach())
    assert torch.equal(*ends)
    assert L2O([x], some_net()).close_unroll() is None


def test_it_learns_a_quadratic() -> None:
    """Fitted on some starts it goes down from another."""
    net = L2ONet(16)
    adam = torch.optim.Adam(net.parameters(), lr=1e-2)
    for i in range(60):
        x = nn.Parameter(torch.randn(4, 3, generator=torch.Generator().manual_seed(i)))
        opt = L2O([x], net)
        opt.open_unroll()
        quadratic(15, opt, x)
        adam.zero_grad()
        opt.close_unroll().backward()
        adam.step()
    x = nn.Parameter(torch.randn(4, 3, generator=torch.Generator().manual_seed(1000)))
    losses = quadratic(15, L2O([x], net), x)
    assert losses[-1] < 0.6 * losses[0]


def test_a_state_goes_on_where_it_was_taken() -> None:
    ends = []
    for stop in (False, True):
        x = nn.Parameter(torch.linspace(-1, 1, 6).view(3, 2))
        opt = L2O([x], some_net())
        quadratic(3, opt, x)
        if stop:
            file = io.BytesIO()
            torch.save(opt.state_dict(), file)
            file.seek(0)
            opt = L2O([x], some_net())
            opt.load_state_dict(torch.load(file, weights_only=True))
        quadratic(3, opt, x)
        ends.append(x.detach())
    assert torch.equal(*ends)


def test_its_file(tmp_path: Path) -> None:
    net = some_net()
    save_l2o(net, tmp_path / "net.safetensors", {"iteration": "7"})
    again = load_l2o(tmp_path / "net.safetensors")
    assert again.config == {"hidden": 8}
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))
    save_l2o(net, tmp_path / "same.safetensors", {"iteration": "7"})
    assert (tmp_path / "same.safetensors").read_bytes() == (tmp_path / "net.safetensors").read_bytes()
    with pytest.raises(ValueError, match="kind 'l2o' is not known"):
        load_nowcaster(tmp_path / "net.safetensors")
    save_nowcaster(build_nowcaster("wnn+", hidden=4, context=5, max_horizon=3, seed=0), tmp_path / "wnn.safetensors")
    with pytest.raises(ValueError, match=r"holds 'wnn\+', not a learned optimizer"):
        load_l2o(tmp_path / "wnn.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "net.safetensors").read_bytes()[:200])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        load_l2o(tmp_path / "cut.safetensors")
    with pytest.raises(FileNotFoundError, match="fit a learned optimizer with `nino l2o`"):
        load_l2o(tmp_path / "none.safetensors")
