"""A step of meta-training: the gradients of a batch, clipped and applied, or undone where they are not finite."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from nino.device import default_device, product_dtype
from nino.fitting import cosine_decay
from nino.metatrain.training_windows import Windows
from nino.nowcasters import NiNoNet, WNNPlus
from nino.nowcasters.scaling import ScalingMode
from nino.ranks import Ranks
from nino.specs import MetatrainSpec
from nino.threads import work_in_pieces

log = logging.getLogger(__name__)

# Failures in a row after which the weights, not the batches, must be at fault.
MAX_CONSECUTIVE_FAILURES = 10


@dataclass(frozen=True)
class Precision:
    """Where and in which number format the nowcaster computes.

    Args:
        device: where.
        dtype: of the matrix products; None computes in float32 throughout.
    """

    device: torch.device
    dtype: torch.dtype | None = None

    @classmethod
    def choose(cls, device: torch.device | str | None, amp: str) -> Precision:
        """A GPU where there is one; bfloat16 products where it has them, float16 ones on older GPUs with tensor cores.

        Args:
            device: None takes the GPU if there is one.
            amp: ``auto`` or ``off``.

        Raises:
            ValueError: for another ``amp``.
        """
        if amp not in ("auto", "off"):
            raise ValueError(f"`amp` (={amp!r}) must be 'auto' or 'off'")
        chosen = default_device() if device is None else torch.device(device)
        dtype = product_dtype(chosen) if amp == "auto" else None
        log.info("computing on %s, matrix products in %s", chosen, dtype or torch.float32)
        return cls(chosen, dtype)

    def autocast(self) -> AbstractContextManager[object]:
        """The context to compute losses in."""
        return nullcontext() if self.dtype is None else torch.autocast(self.device.type, self.dtype)


def engine_threads(engine: str, device: torch.device | str) -> AbstractContextManager[None]:
    """How an engine's training loss is to use the CPU's threads: the context to compute losses and gradients in.

    The streamed engine's passes run in pieces, with small operations between them; those of the edge list are large.
    """
    return work_in_pieces(device) if engine == "streamed" else nullcontext()


def loss_of(
    net: NiNoNet | WNNPlus, group: Sequence[Windows], spec: MetatrainSpec, precision: Precision, engine: str
) -> Tensor:
    """The nowcaster's training loss on windows that share a graph: a scalar, in which each target counts alike."""
    with precision.autocast():
        return net.training_loss(
            group[0].graph,
            torch.cat([windows.states for windows in group]),
            torch.cat([windows.targets for windows in group]),
            torch.cat([windows.mask for windows in group]),
            torch.cat([windows.lpe for windows in group]),
            scaling=cast(ScalingMode, spec.scaling),
            engine=engine,
        )


def sharing_graphs(batch: Sequence[Windows]) -> list[list[Windows]]:
    """A batch's windows by graph; samples of a word embedding's rows are graphs of their own."""
    groups: dict[int, list[Windows]] = {}
    for windows in batch:
        groups.setdefault(id(windows.graph), []).append(windows)
    return list(groups.values())


@dataclass(frozen=True)
class Step:
    """The outcome of an iteration.

    Args:
        loss: mean over the batch's trajectories.
        grad_norm: before clipping.
        applied: False where either was not finite; the weights are then those of the last good iteration.
    """

    loss: float
    grad_norm: float
    applied: bool


@dataclass
class Trainer:
    """The nowcaster, its optimizer and the last state that is known to be good.

    A state is good when a batch gave a finite loss and finite gradients at it. When a batch does not, the weights and
    moments return to the last good state and the batch is skipped; this also undoes the previous update, which may
    have broken them. In float16, gradients overflow while the scale of the loss is still being found: such a batch is
    skipped and the scale is halved, which counts as a failure only when the scale falls below 1.

    Args:
        net: the nowcaster.
        spec: the recipe.
        precision: device and number format.
        engine: of the nowcaster's training loss.
        ranks: the processes that share each batch; all of them do the same update.
    """

    net: NiNoNet | WNNPlus
    spec: MetatrainSpec
    precision: Precision
    engine: str = "streamed"
    ranks: Ranks = field(default_factory=Ranks)
    failures: int = 0
    consecutive: int = 0
    optimizer: torch.optim.Optimizer = field(init=False)
    scaler: torch.amp.GradScaler = field(init=False)
    good: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        """Move the nowcaster to its device and make the optimizer."""
        self.net.to(self.precision.device)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=self.spec.lr, weight_decay=self.spec.weight_decay)
        scaled = self.precision.dtype == torch.float16
        self.scaler = torch.amp.GradScaler(self.precision.device.type, enabled=scaled)
        self.good = self._copy()

    def step(self, iteration: int, batch: Sequence[Windows]) -> Step:
        """Fit the nowcaster to a batch.

        Args:
            iteration: from 0; sets the learning rate.
            batch: windows of each trajectory, those of this process. Those that share a graph go through the nowcaster
                together, and count as much as the trajectories they come from.

        Returns:
            Its loss and gradient norm, and whether they were applied.

        Raises:
            FloatingPointError: after too many failures in a row.
        """
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = cosine_decay(iteration, self.spec.iterations, self.spec.lr, self.spec.min_lr)
        self.optimizer.zero_grad()
        loss = 0.0
        for group in sharing_graphs(batch):
            moved = [windows.to(self.precision.device) for windows in group]
            share = math.fsum(windows.share for windows in group)
            part = loss_of(self.net, moved, self.spec, self.precision, self.engine) * share
            self.scaler.scale(part).backward()
            loss += part.item()
        loss = self.ranks.sum_gradients(self.net, loss)
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), self.spec.clip_norm).item()
        if self._overflowed(iteration, loss, norm):
            return Step(loss, norm, applied=False)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._fail(iteration, loss, norm)
            return Step(loss, norm, applied=False)
        self.consecutive = 0
        self.good = self._copy()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return Step(loss, norm, applied=True)

    def _overflowed(self, iteration: int, loss: float, norm: float) -> bool:
        """Whether float16 gradients were too large for the loss's scale, which is then halved."""
        scale = self.scaler.get_scale()
        if not self.scaler.is_enabled() or math.isfinite(norm) or not math.isfinite(loss) or scale < 1:
            return False
        self.scaler.update()
        log.info("iteration %d: float16 gradients overflowed at a loss scale of %g: skipped", iteration, scale)
        return True

    def _fail(self, iteration: int, loss: float, norm: float) -> None:
        """Go back to the last good state, count, give up after too many."""
        self.failures += 1
        self.consecutive += 1
        log.warning("iteration %d: loss %g, gradient norm %g: rolled back, batch skipped", iteration, loss, norm)
        self.scaler.update()
        self.net.load_state_dict(self.good["net"])
        self.optimizer.load_state_dict(copy.deepcopy(self.good["optimizer"]))
        if self.consecutive >= MAX_CONSECUTIVE_FAILURES:
            raise FloatingPointError(
                f"{self.consecutive} iterations in a row, up to {iteration}, gave a loss or gradient that is not "
                f"finite: lower `lr` (={self.spec.lr}), or set `amp` (={self.spec.amp!r}) to 'off'"
            )

    def _copy(self) -> dict[str, Any]:
        return copy.deepcopy({"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()})

    def state_dict(self) -> dict[str, Any]:
        """All that a later ``load_state_dict`` needs to continue as if nothing had happened."""
        counts = {"failures": self.failures, "consecutive": self.consecutive}
        return self._copy() | {"good": self.good, **counts, "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state of the same nowcaster and recipe."""
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.good = state["good"]
        self.failures = state["failures"]
        self.consecutive = state["consecutive"]
        if state.get("scaler"):  # empty but in float16, and states of earlier versions have none
            self.scaler.load_state_dict(state["scaler"])
