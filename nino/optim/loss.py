"""Computing beside a training without leaving a trace in it: random numbers and buffers stay what they were."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from nino.device import same_rng
from nino.optim.shards import reshard
from nino.ranks import Ranks


def loss_of(model: nn.Module, closure: Callable[[], Any], *, grad: bool, ranks: Ranks) -> float:
    """The loss a closure returns, leaving random numbers and the model's buffers (batch statistics) untouched.

    Args:
        model: whose buffers are put back.
        closure: returns the loss, a number or a tensor of one element.
        grad: whether the closure runs ``backward`` itself.
        ranks: over whom the loss is averaged.

    Raises:
        ValueError: if the closure returns something that is no number.
    """
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        with same_rng(), torch.set_grad_enabled(grad):
            loss = _number(closure())
    except Exception as error:
        ranks.fail(error)
        raise
    finally:
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        reshard(model)
    return sum(ranks.agree(loss)) / ranks.world


def _number(loss: Any) -> float:
    if isinstance(loss, Tensor) and loss.numel() == 1:
        loss = loss.item()
    if not isinstance(loss, int | float):
        raise ValueError(
            f"the loss closure returned a {type(loss).__name__}: it must return the loss, a number or scalar"
        )
    return float(loss)
