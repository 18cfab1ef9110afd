"""What every base optimizer must do, as checks on small networks; the tests and ``nino check`` run them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from nino.contracts import attempt
from nino.device import same_rng
from nino.graphs import NeuralGraph
from nino.nowcasters.base import Nowcaster
from nino.optim.wrapper import NiNo

Make = Callable[[nn.Module], Any]
STEPS, STOPPED = 26, 13  # of a training, and where it is stopped and goes on
PERIOD = 10
JUMP = 1.0  # of every parameter at a nowcast: far beyond a step


def violations(make: Make) -> list[str]:
    """Check that an optimizer can train, stop and go on, and have nowcasts around it.

    Args:
        make: builds it for a network, the same one every time, from groups of its parameters.

    Returns:
        A sentence per violation: the check and what it saw; empty if there is none.
    """
    checks = (_holds, _lowers, _repeatable, _resumes, _measured, _keeps_jumps)
    return [sentence for check in checks for sentence in attempt(check, make)]


class _Training:
    """A training by an optimizer: least squares of a small network on fixed data, the same batches every time.

    With jumps, random gradients replace those of the loss, which would point back to where a jump started.
    """

    def __init__(self, make: Make, network: Callable[[], nn.Module], jumps: bool = False) -> None:
        with same_rng():
            torch.manual_seed(0)
            self.model = network()
        draw = torch.Generator().manual_seed(1)
        self.inputs = torch.randn(64, 6, generator=draw)
        self.targets = self.inputs @ torch.randn(6, 3, generator=draw)
        self.base = make(self.model)
        if hasattr(self.base, "train"):
            self.base.train()
        self.optimizer = self.base
        if jumps:
            self.optimizer = NiNo(
                self.base, model=self.model, nowcaster=_Jump(), period=PERIOD, horizons=1, verbose=False
            )
        self.done = 0

    def run(self, steps: int) -> _Training:
        for _ in range(steps):
            self.optimizer.zero_grad()
            self._backward()
            self.optimizer.step()
            self.done += 1
        return self

    def _backward(self) -> None:
        if self.optimizer is not self.base:
            draw = torch.Generator().manual_seed(self.done)
            for p in self.model.parameters():
                p.grad = torch.randn(p.shape, generator=draw)
            return
        rows = torch.arange(16) + 16 * (self.done % 4)
        (self.model(self.inputs[rows]) - self.targets[rows]).square().mean().backward()

    def flat(self) -> Tensor:
        return torch.cat([p.detach().flatten() for p in self.model.parameters()])

    @torch.no_grad()
    def loss(self) -> float:
        return float((self.model(self.inputs) - self.targets).square().mean())

    def saved(self) -> io.BytesIO:
        file = io.BytesIO()
        torch.save((self.model.state_dict(), self.optimizer.state_dict(), self.done), file)
        file.seek(0)
        return file

    def load(self, file: io.BytesIO) -> _Training:
        weights, state, self.done = torch.load(file, weights_only=True)
        self.model.load_state_dict(weights)
        self.optimizer.load_state_dict(state)
        return self


class _Jump(Nowcaster):
    """Moves every parameter by the same amount."""

    context = 5

    def predict(self, graph: NeuralGraph, states: Tensor, k: int, **_: Any) -> Tensor:
        return states[:, -1].float() + JUMP


def _quadratic() -> nn.Module:
    """A network whose loss is a quadratic function of the parameters that are trained."""
    model = nn.Sequential(nn.Linear(6, 12), nn.Linear(12, 3))
    model[1].requires_grad_(False)
    return model


def _perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))


def _holds(make: Make) -> Iterator[str]:
    """Its groups hold the network's parameters, each once, with a learning rate that a schedule can set."""
    training = _Training(make, _perceptron)
    held = [id(p) for group in training.base.param_groups for p in group["params"]]
    if sorted(held) != sorted(id(p) for p in training.model.parameters()):
        count = len([*training.model.parameters()])
        yield f"holds: its groups hold {len(held)} parameters, not each of the network's {count}"
    if any("lr" not in group for group in training.base.param_groups):
        yield "holds: a group has no `lr`, which a schedule could set"


def _lowers(make: Make) -> Iterator[str]:
    """Steps lower a quadratic loss."""
    training = _Training(make, _quadratic)
    before = training.loss()
    after = training.run(STEPS).loss()
    if not after < before:
        yield f"lowers: {STEPS} steps took a quadratic loss from {before:.3g} to {after:.3g}"


def _repeatable(make: Make) -> Iterator[str]:
    """Equal gradients give equal bits, whatever torch's global generator holds; it is left as it was."""
    trainings = []
    for seed in (1, 2):
        with same_rng():
            torch.manual_seed(seed)
            before = torch.get_rng_state()
            trainings.append(_Training(make, _perceptron).run(STEPS))
            if not torch.equal(before, torch.get_rng_state()):
                yield "repeatable: draws from torch's global generator"
                return
    if not torch.equal(trainings[0].flat(), trainings[1].flat()):
        yield "repeatable: one built alike makes other steps"


def _resumes(make: Make, jumps: bool = False) -> Iterator[str]:
    """Its state, saved as plain values and tensors, goes on with the same bits."""
    whole = _Training(make, _perceptron, jumps).run(STOPPED)
    file = whole.saved()
    whole.run(STEPS - STOPPED)
    resumed = _Training(make, _perceptron, jumps).load(file).run(STEPS - STOPPED)
    if not torch.equal(whole.flat(), resumed.flat()):
        apart = float((whole.flat() - resumed.flat()).abs().max())
        yield f"resumes: loaded from its state after {STOPPED} steps it is {apart:.2g} away after {STEPS}"


def _measured(make: Make) -> Iterator[str]:
    """An optimizer with an evaluation mode also has a training mode, and finite weights in evaluation mode."""
    training = _Training(make, _perceptron)
    if hasattr(training.base, "eval") != hasattr(training.base, "train"):
        yield "measured: has one of `train()` and `eval()`: an optimizer has both or none"
    elif hasattr(training.base, "eval"):
        training.run(STOPPED)
        training.base.eval()
        if not training.flat().isfinite().all():
            yield "measured: weights in evaluation mode are not finite"


def _keeps_jumps(make: Make) -> Iterator[str]:
    """Under ``NiNo`` a jump stays, and the state goes on with the same bits after it."""
    training = _Training(make, _perceptron, jumps=True).run(PERIOD - 1)
    before = training.flat().mean()
    moved = float((training.run(6).flat().mean() - before) / JUMP)
    if training.optimizer.counts["kept"] != 1 or not 0.5 < moved < 1.5:
        left = f"5 steps after a jump {100 * moved:.0f} % of it are left"
        yield f"keeps_jumps: {left}: it may compute weights from a copy of its own"
    yield from (
        f"keeps_jumps: under NiNo: {sentence.removeprefix('resumes: ')}" for sentence in _resumes(make, jumps=True)
    )
