"""What training holds still, and what the user freezes: elements that no nowcast moves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nino.optim.jump import Jump, Target

STILL = ("keep", "predict")


def unmoved(states: Iterable[Float[Tensor, " elements"]]) -> Bool[Tensor, " elements"] | None:
    """The elements that are equal in all states; None for fewer than two states, which show no movement.

    >>> unmoved([torch.tensor([0.0, 1.0]), torch.tensor([0.0, 2.0]), torch.tensor([0.0, 1.0])])
    tensor([ True, False])
    """
    first, *others = states
    if not others:
        return None
    mask = torch.ones_like(first, dtype=torch.bool)
    for other in others:
        mask &= other == first
    return mask


def check_still(still: str) -> str:
    """Give ``still`` back.

    Raises:
        ValueError: if it is no rule.
    """
    if still not in STILL:
        raise ValueError(
            f"`still` (={still!r}) must be 'keep' (elements that are equal in all states stay) or 'predict' (they are "
            f"nowcast as all others)"
        )
    return still


def frozen_masks(frozen: Mapping[str, Tensor] | None, model: nn.Module) -> dict[int, Bool[Tensor, ...]]:
    """The elements that the user freezes, by the parameter's ``id``.

    Args:
        frozen: boolean masks by the parameter's name, True where an element stays; of its shape, or of one that
            broadcasts to it.
        model: whose parameters they are.

    Raises:
        ValueError: for a name, dtype or shape that the model does not have; names the mask.
    """
    named = dict(model.named_parameters(remove_duplicate=False))
    masks: dict[int, Tensor] = {}
    for name, mask in (frozen or {}).items():
        if name not in named:
            raise ValueError(
                f"`frozen` names {name!r}, which is no parameter of the model: names are those of "
                f"`model.named_parameters()`, such as {next(iter(named), None)!r}"
            )
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
            kind = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
            raise ValueError(f"`frozen[{name!r}]` is {kind}: pass a bool tensor, True where an element stays")
        parameter = named[name]
        try:
            whole = mask.detach().broadcast_to(parameter.shape).clone()
        except RuntimeError:
            raise ValueError(
                f"`frozen[{name!r}]` has shape {tuple(mask.shape)}, which does not broadcast to the parameter's "
                f"{tuple(parameter.shape)}"
            ) from None
        masks[id(parameter)] = whole | masks[id(parameter)] if id(parameter) in masks else whole
    return masks


@dataclass
class HeldJump(Jump):
    """A jump that leaves some elements where they are.

    Args:
        states: the saved states; elements that are equal in all of them stay. None moves these, too.
        frozen: masks by the ``id`` of the parameter, True where an element stays.
    """

    states: Float[Tensor, "params states"] | None = None
    frozen: Mapping[int, Bool[Tensor, ...]] = field(default_factory=dict)

    def value(self, target: Target) -> Tensor:
        """The new value of one parameter; what is held keeps its bits."""
        new, present = super().value(target), target.present
        still = None if self.states is None else unmoved(self.states[target.part].unbind(1))
        frozen = self.frozen.get(id(target.parameter))
        if frozen is not None and target.shard is not None:
            frozen = target.shard.cut(frozen)
        for mask in (still, frozen):
            if mask is not None:
                new = torch.where(mask.to(present.device).view(present.shape), present, new)
        return new
