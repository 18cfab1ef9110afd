"""Base optimizers as the recipes name them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from nino.specs import RecipeSpec, Reference
from nino.tasks.muon import MuonAdamW

ParameterGroups = list[dict[str, Any]]


def build_optimizer(recipe: RecipeSpec, model: nn.Module) -> Optimizer:
    """The base optimizer of a recipe over a model's trainable parameters.

    Biases (parameters whose name ends in ``bias``) are not decayed; everything else is, norm scales included.
    The fused implementations of ours are used: one kernel for all tensors, the fastest on CPU and GPU.

    Args:
        recipe: optimizer, learning rate, weight decay, options, and the optimizer around it.
        model: the network, already on its device.

    Returns:
        The optimizer at the recipe's learning rate, which a schedule moves later.

    Raises:
        ValueError: for an unknown optimizer, arguments that it does not take, and a class that is no optimizer.
    """
    options = dict(recipe.options or {})
    if recipe.optimizer in OPTIMIZERS:
        base = OPTIMIZERS[recipe.optimizer](model, recipe, options)
    else:
        kind = optimizer_class("recipe.optimizer", recipe.optimizer, [*OPTIMIZERS])
        if recipe.weight_decay and "weight_decay" not in inspect.signature(kind).parameters:
            raise ValueError(f"recipe.weight_decay (={recipe.weight_decay}): {kind.__name__} takes none; leave it out")
        arguments = {"lr": recipe.lr} | options
        base = _construct(recipe.optimizer, kind, decay_groups(model, recipe.weight_decay), arguments)
    if recipe.around is not None:
        kind = optimizer_class("recipe.around.optimizer", recipe.around.optimizer)
        base = _construct(recipe.around.optimizer, kind, base, recipe.around.options)
    return base


def optimizer_class(key: str, name: str, ours: list[str] | None = None) -> type[Optimizer]:
    """The class of an optimizer outside this package.

    Args:
        key: of the config that names it.
        name: FILE.py:CLASS or MODULE:CLASS.
        ours: names that the key may say besides.

    Raises:
        ValueError: for a name without a class, and for a class whose objects do not do what an optimizer's do.
    """
    reference = Reference.parse(name)
    if reference is None:
        allowed = ", ".join([*sorted(ours or ()), "FILE.py:CLASS", "MODULE:CLASS"])
        raise ValueError(f"{key} is {name!r}; allowed are {allowed}")
    kind: type[Optimizer] = reference.load()
    if not (isinstance(kind, type) and all(hasattr(kind, needed) for needed in ("step", "state_dict", "zero_grad"))):
        raise ValueError(f"{key} (={name}) is no optimizer: derive {reference.name} from torch.optim.Optimizer")
    return kind


def _construct(name: str, kind: type[Optimizer], first: Any, arguments: Mapping[str, Any]) -> Optimizer:
    """An optimizer from its class; what the constructor refuses is said with its name."""
    try:
        inspect.signature(kind).bind(first, **arguments)
        return kind(first, **arguments)
    except (TypeError, ValueError, AssertionError) as error:
        allowed = ", ".join(list(inspect.signature(kind).parameters)[1:])
        raise ValueError(f"{name}: {error}; its arguments are {allowed}") from error


def decay_groups(model: nn.Module, weight_decay: float) -> ParameterGroups:
    """Trainable parameters in one group, or in two where there is decay: those that decay and the biases.

    >>> [len(group["params"]) for group in decay_groups(nn.Linear(2, 2), 0.1)]
    [1, 1]
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if not weight_decay:
        return [{"params": [p for _, p in named], "weight_decay": 0.0}]
    groups: ParameterGroups = [
        {"params": [p for name, p in named if not name.endswith("bias")], "weight_decay": weight_decay},
        {"params": [p for name, p in named if name.endswith("bias")], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _torch(kind: Callable[..., Optimizer], **defaults: Any) -> Callable[[nn.Module, RecipeSpec, Any], Optimizer]:
    """One of torch's optimizers, fused, with decay groups."""

    def build(model: nn.Module, recipe: RecipeSpec, options: Mapping[str, Any]) -> Optimizer:
        return kind(decay_groups(model, recipe.weight_decay), lr=recipe.lr, fused=True, **{**defaults, **options})

    return build


OPTIMIZERS: dict[str, Callable[[nn.Module, RecipeSpec, Any], Optimizer]] = {
    "adam": _torch(torch.optim.Adam),
    "adamw": _torch(torch.optim.AdamW),
    "sgd": _torch(torch.optim.SGD, momentum=0.9),
    "muon": lambda model, r, options: MuonAdamW(
        model, r.lr, r.weight_decay, **options
    ),  # AdamW where Muon does not apply
}
