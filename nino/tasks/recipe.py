"""Base optimizers as the recipes name them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from nino.specs import RecipeSpec
from nino.tasks.muon import MuonAdamW

ParameterGroups = list[dict[str, Any]]


def build_optimizer(recipe: RecipeSpec, model: nn.Module) -> Optimizer:
    """The base optimizer of a recipe over a model's trainable parameters.

    Biases (parameters whose name ends in ``bias``) are not decayed; everything else is, norm scales included.
    The fused implementations are used: one kernel for all tensors, the fastest on CPU and GPU.

    Args:
        recipe: optimizer, learning rate and weight decay.
        model: the network, already on its device.

    Returns:
        The optimizer; learning rate constant.

    Raises:
        ValueError: for an unknown optimizer.
    """
    if recipe.optimizer not in OPTIMIZERS:
        raise ValueError(f"recipe.optimizer is {recipe.optimizer!r}; allowed are {', '.join(sorted(OPTIMIZERS))}")
    return OPTIMIZERS[recipe.optimizer](model, recipe)


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


def _sgd(model: nn.Module, recipe: RecipeSpec) -> Optimizer:
    groups = decay_groups(model, recipe.weight_decay)
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=0.9, fused=True)


OPTIMIZERS: dict[str, Callable[[nn.Module, RecipeSpec], Optimizer]] = {
    "adam": lambda model, r: torch.optim.Adam(decay_groups(model, r.weight_decay), lr=r.lr, fused=True),
    "adamw": lambda model, r: torch.optim.AdamW(decay_groups(model, r.weight_decay), lr=r.lr, fused=True),
    "sgd": _sgd,
    "muon": lambda model, r: MuonAdamW(model, r.lr, r.weight_decay),  # AdamW where Muon does not apply
}
