r"""Base optimizers that keep copies of the weights: a jump is carried into them, or they would undo it.

A copy is whatever an optimizer takes for weights: float32 masters of bfloat16 parameters, schedule-free's z and x,
Lookahead's slow weights, averages, points of departure. All of them are shifted by the change of the parameter,

.. math:: s \leftarrow s + (\theta_{new} - \theta_{old}),

so that every difference between copies and parameters, which is all that such optimizers compute with, stays what it
was: from then on the training is the same one, translated.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nino.optim.optimizer_tensors import OptimizerTensor, optimizer_tensors
from nino.optim.shards import local

TINY = 1e-12  # of the mean square: rounding, where all elements are equal
NEAR = 0.5  # a copy's distance from the weights, relative to their norm: what does not follow them is at 1 or beyond

# Names that well-known optimizers give to their copies, which may lie further away.
SCHEDULE_FREE = ("x", "y", "z")  # schedulefree and its descendants: groups have a `train_mode`
COPIES = (
    *("slow_params", "slow_param", "slow_buffer", "slow_weights", "lookahead_slow_buff", "backup_params"),  # Lookahead
    *("master", "master_param", "master_params", "master_weight", "master_weights", "fp32_param", "fp32_params"),
    *("param_groups_master", "fp32_from_float16_groups", "fp32_from_fp16_groups"),  # apex, Megatron
    *("ema_params", "param_ema", "shadow_params"),
)


def masters_of(base: Any, parameters: Sequence[Tensor]) -> dict[int, Tensor]:
    """What an optimizer keeps of bfloat16 and float16 parameters in higher precision, by the parameter's ``id``.

    Entries of one name are such masters if each of them, rounded, equals its parameter. Parameters that are all zero
    prove nothing, so at least one must have another value.

    Args:
        base: the optimizer.
        parameters: of the model, in one process.
    """
    low = [p for p in parameters if p.dtype in (torch.bfloat16, torch.float16)]
    kinds: dict[tuple[str, str], list[OptimizerTensor]] = {}
    for entry in optimizer_tensors(base, low) if low else ():
        if entry.tensor.dtype.itemsize >= 4:
            kinds.setdefault((entry.optimizer, entry.name), []).append(entry)
    masters: dict[int, Tensor] = {}
    for kind in kinds.values():
        rounds = all(torch.equal(entry.tensor.to(entry.parameter), entry.parameter) for entry in kind)
        if rounds and any(bool(entry.parameter.any()) for entry in kind):
            masters = {id(entry.parameter): entry.tensor.detach() for entry in kind} | masters
    return masters


def distance(sums: Sequence[Tensor]) -> float:
    r"""How far tensors s lie from their parameters w, over all their elements together.

    It is the larger one of

    .. math:: \frac{\lVert s - w \rVert}{\lVert w \rVert} \quad\text{and}\quad
        \frac{\lVert (s - w) - \overline{s - w} \rVert}{\lVert w - \overline{w} \rVert};

    infinite where a denominator is 0.

    Args:
        sums: what ``sums_of`` returns, of any number of processes.
    """
    count, total, square, apart, apart_square = sum(sums, torch.zeros(5, dtype=torch.float64)).tolist()
    spread, apart_spread = square - total**2 / max(count, 1), apart_square - apart**2 / max(count, 1)
    if spread <= TINY * square:
        return float("inf")
    return max(apart_square / square, apart_spread / spread) ** 0.5


def sums_of(entry: OptimizerTensor) -> Tensor:
    """How many elements of a parameter lie here, the sums of them and of their squares, and those of its distance."""
    weights = local(entry.parameter).to(torch.float32)
    values = [torch.tensor(float(weights.numel()), dtype=torch.float64)]
    for each in (weights, local(entry.tensor).to(weights) - weights):
        values += [each.sum(dtype=torch.float64), torch.linalg.vector_norm(each, dtype=torch.float64) ** 2]
    return torch.stack([value.cpu() for value in values])


class Carried:
    """The copies of parameters that are about to change, and the values of these parameters before the change.

    All entries of a kind (the ``z`` of all parameters) are copies if their name is a well-known one for copies, or if
    taken together they lie near the parameters: nearer than half of the parameters' norm, also once the means of both,
    which a constant may share, are subtracted (see ``distance``). Moments of gradients lie a whole norm away or more;
    those with well-known names are never copies.

    Args:
        base: the optimizer that keeps them.
        parameters: that may change.

    Attributes:
        sums: of each kind that may be a copy, what lies here; see ``sums_of``.
        copies: once they are chosen.
    """

    def __init__(self, base: Any, parameters: Sequence[Tensor]) -> None:
        """Find what may be a copy; this asks no other process."""
        free = any("train_mode" in group for group in base.param_groups) or hasattr(base, "train_mode")
        known = {*COPIES, *(SCHEDULE_FREE if free else ())}
        self._kinds: dict[tuple[str, str], list[OptimizerTensor]] = {}
        for entry in optimizer_tensors(base, parameters):
            self._kinds.setdefault((entry.optimizer, entry.name), []).append(entry)
        self._named = {key for key, kind in self._kinds.items() if not known.isdisjoint(kind[0].names)}
        self.sums = {
            key: torch.stack([sums_of(entry) for entry in kind]).sum(0)
            for key, kind in self._kinds.items()
            if key not in self._named
        }
        self.copies: list[OptimizerTensor] = []
        self._before: dict[int, Tensor] = {}

    def choose(self, everywhere: Sequence[Mapping[tuple[str, str], Tensor]]) -> None:
        """Say which kinds are copies, by all processes' sums, and keep the present values of their parameters."""
        for key, kind in self._kinds.items():
            if key in self._named or distance([sums[key] for sums in everywhere if key in sums]) < NEAR:
                self.copies += kind
        self._before = {id(entry.parameter): local(entry.parameter).clone() for entry in self.copies}

    @torch.no_grad()
    def shift(self, written: Container[int] = ()) -> None:
        """Shift every copy by its parameter's change, but those whose first element's address is in ``written``.

        An element of a copy in higher precision (a master) that rounded to the parameter before does so afterwards.
        """
        for entry in self.copies:
            copy = local(entry.tensor)
            if copy.data_ptr() in written:
                continue
            new = local(entry.parameter).to(copy.device)
            old = self._before[id(entry.parameter)].to(copy.device)
            wide = torch.promote_types(torch.promote_types(copy.dtype, new.dtype), torch.float32)
            shifted = (copy.to(wide) + (new.to(wide) - old.to(wide))).to(copy.dtype)
            if copy.dtype.itemsize > new.dtype.itemsize:
                lost = (copy.to(new.dtype) == old) & (shifted.to(new.dtype) != new)
                shifted = torch.where(lost, new.to(copy.dtype), shifted)
            copy.copy_(shifted)


def require_training_mode(base: Any) -> None:
    """Refuse to nowcast averages in place of the weights that are trained (schedule-free optimizers).

    Raises:
        RuntimeError: if the optimizer is in evaluation mode.
    """
    modes = [group["train_mode"] for group in base.param_groups if "train_mode" in group]
    if False in [*modes, getattr(base, "train_mode", True)]:
        raise RuntimeError(
            f"{type(base).__name__} is in evaluation mode, where the parameters are averages: call `opt.train()` "
            f"before `opt.step()`"
        )
