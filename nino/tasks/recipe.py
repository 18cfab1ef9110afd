"""Base optimizers as the recipes name them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from nino.specs import RecipeSpec, Reference
from nino.specs.recipe import SGDOptions
from nino.tasks.muon import MuonAdamW

ParameterGroups = list[dict[str, Any]]
INTERFACE = ("param_groups", "state", "step", "zero_grad", "state_dict", "load_state_dict")


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
        arguments = {"lr": recipe.lr} | ({"weight_decay": recipe.weight_decay} if recipe.weight_decay else {}) | options
        base = _from_outside("optimizer", recipe.optimizer, decay_groups(model, recipe.weight_decay), arguments)
    if recipe.around is None:
        return base
    return _from_outside("around.optimizer", recipe.around.optimizer, base, recipe.around.options)


def _from_outside(key: str, name: str, first: Any, options: Mapping[str, Any]) -> Optimizer:
    """An optimizer from a class, or by a function, outside this package."""
    reference = Reference.find(name, "optimizer")
    if reference is None:
        allowed = ", ".join([*sorted(OPTIMIZERS if key == "optimizer" else ()), "FILE.py:NAME", "MODULE:NAME"])
        raise ValueError(f"recipe.{key} is {name!r}; allowed are {allowed}")
    try:
        made: Optimizer = reference.call(first, **options)
    except Exception as error:  # whatever a foreign constructor raises is said with its name
        raise ValueError(f"recipe.{key} (={name}): {error}") from error
    if lacks := [needed for needed in INTERFACE if not hasattr(made, needed)]:
        raise ValueError(f"recipe.{key} (={name}) gives {type(made).__name__}, which has no `{lacks[0]}`: no optimizer")
    if needed := [each.name for each in inspect.signature(made.step).parameters.values() if each.default is each.empty]:
        raise ValueError(f"recipe.{key} (={name}): its steps need {needed[0]!r}, and recipes take steps without")
    return made


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
    "sgd": _torch(torch.optim.SGD, momentum=SGDOptions.momentum),
    "muon": lambda model, r, options: MuonAdamW(
        model, r.lr, r.weight_decay, **options
    ),  # AdamW where Muon does not apply
}
