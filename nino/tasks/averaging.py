"""Averages of the weights of a network in training, which are measured in place of the weights themselves."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from nino.specs import AveragingSpec


class Average(ABC):
    r"""An average of the states of a network; the network itself is trained as if there were none.

    An accepted nowcast moves the average by the same change as the weights, :math:`\bar\theta \leftarrow \bar\theta +
    \theta_{new} - \theta_{old}`, so that its distance from them stays what it was; the optimizer wrapper moves the
    averages that an optimizer keeps in the same way. An average that stayed behind would hide what the nowcast gained
    until it has forgotten the earlier weights; one that began anew would show the jitter that it is there to remove.

    Floating-point buffers (running statistics of batch norm) are averaged like weights, but a nowcast does not move
    them. Of others, such as counts, an average has the latest.

    Args:
        source: the network, whose copy will hold the average.
        every: steps between two updates.

    Attributes:
        updates: how often the average has changed; 0 while there is none.
    """

    def __init__(self, source: nn.Module, every: int) -> None:
        """See the class."""
        self._source, self._every = source, every
        self.updates = 0

    @property
    @abstractmethod
    def model(self) -> nn.Module:
        """The network with the average as its weights."""

    def step(self, steps: int) -> None:
        """Take the weights into account after a step.

        Args:
            steps: how many steps have been taken.
        """
        if steps % self._every == 0:
            self._update()
            self.updates += 1

    def follow(self, optimizer: Any) -> None:
        """Go along with every jump that a ``NiNo`` around the optimizer makes."""
        before: list[Tensor] = []

        def keep(*_: Any) -> None:
            before[:] = [p.detach().clone() for p in self._source.parameters()]

        @torch.no_grad()
        def move(_: Any, record: Any) -> None:
            if record.accepted and self.updates:
                self._shift([p - old for p, old in zip(self._source.parameters(), before, strict=True)])
                self.updates += 1
            before.clear()

        optimizer.register_nowcast_pre_hook(keep)
        optimizer.register_nowcast_post_hook(move)

    @abstractmethod
    def _update(self) -> None: ...

    @abstractmethod
    def _shift(self, changes: Sequence[Tensor]) -> None: ...

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on with the same bits."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""


class EMA(Average):
    r"""An exponential moving average, :math:`\bar\theta \leftarrow \beta \bar\theta + (1 - \beta) \theta`.

    Args:
        source: see `Average`.
        every: see `Average`.
        decay: :math:`\beta`; the first update takes the weights as they are.
    """

    def __init__(self, source: nn.Module, every: int, decay: float) -> None:
        """See the class."""
        super().__init__(source, every)
        self._average = AveragedModel(source, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)

    @property
    def model(self) -> nn.Module:
        """See `Average`."""
        module: nn.Module = self._average.module
        return module

    @torch.no_grad()
    def _update(self) -> None:
        self._average.update_parameters(self._source)
        for average, latest in zip(self.model.buffers(), self._source.buffers(), strict=True):
            if not (average.is_floating_point() or average.is_complex()):
                average.copy_(latest)  # torch averages these, too, and rounds: a count would stay at 0

    def _shift(self, changes: Sequence[Tensor]) -> None:
        torch._foreach_add_([p.detach() for p in self.model.parameters()], list(changes))

    def state_dict(self) -> dict[str, Any]:
        """See `Average`."""
        return {"updates": self.updates, "average": self._average.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Average`."""
        self.updates = state["updates"]
        self._average.load_state_dict(state["average"])


class LAWA(Average):
    """The mean of the latest weights (LAWA; Kaddour, 2022); until the window is full, of as many as there are.

    Args:
        source: see `Average`.
        every: see `Average`.
        window: states in the mean; as many copies of the network are kept.
    """

    def __init__(self, source: nn.Module, every: int, window: int) -> None:
        """See the class."""
        super().__init__(source, every)
        self._window = window
        self._states: list[list[Tensor]] = []  # oldest first; parameters, then buffers
        self._model = copy.deepcopy(source)

    @property
    def model(self) -> nn.Module:
        """See `Average`."""
        return self._model

    def _update(self) -> None:
        latest = [t.detach().clone() for t in _tensors(self._source)]
        self._states = [*self._states, latest][-self._window :]
        self._write()

    @torch.no_grad()
    def _write(self) -> None:
        for average, *states in zip(_tensors(self._model), *self._states, strict=True):
            average.copy_(torch.stack(states).mean(0) if average.is_floating_point() else states[-1])

    def _shift(self, changes: Sequence[Tensor]) -> None:
        for state in self._states:
            torch._foreach_add_(state[: len(changes)], list(changes))
        self._write()

    def state_dict(self) -> dict[str, Any]:
        """See `Average`."""
        return {"updates": self.updates, "states": self._states}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Average`."""
        self.updates = state["updates"]
        places = _tensors(self._source)
        self._states = [[t.to(p.device).clone() for t, p in zip(s, places, strict=True)] for s in state["states"]]
        if self._states:
            self._write()


def build_average(spec: AveragingSpec | None, model: nn.Module) -> Average | None:
    """The average that a recipe asks for; None for none.

    Raises:
        ValueError: for an unknown kind, or one without the number that it needs.
    """
    if spec is None or spec.kind == "none":
        return None
    if spec.kind == "ema" and spec.decay is not None:
        return EMA(model, spec.every, spec.decay)
    if spec.kind == "lawa" and spec.window is not None:
        return LAWA(model, spec.every, spec.window)
    raise ValueError(f"recipe.averaging is {spec}: give kind ema a decay, or kind lawa a window")


def _tensors(model: nn.Module) -> list[Tensor]:
    """Parameters and buffers of a network, in its order."""
    return [*model.parameters(), *model.buffers()]
