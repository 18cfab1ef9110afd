"""By what a saved optimizer state knows the nowcaster that it was saved with."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from nino.nowcasters.base import Nowcaster


def nowcaster_signature(nowcaster: Nowcaster | None) -> str | None:
    """What tells a nowcaster from another: its class, context and horizon, how it is used, and a hash of its weights.

    How it is used is what ``extra_repr`` says of it and of the nowcaster inside it: a share of the edges, a division.

    Args:
        nowcaster: None for the base optimizer alone.
    """
    if nowcaster is None:
        return None
    name = f"{type(nowcaster).__name__}(context={nowcaster.context}, max_horizon={nowcaster.max_horizon})"
    if not isinstance(nowcaster, nn.Module):
        return name
    from nino.nowcasters.base import Nowcaster  # the package takes time to load, which importing NiNo need not

    used = [module.extra_repr() for module in nowcaster.modules() if isinstance(module, Nowcaster)]
    name = " ".join([name, *filter(None, used)])
    digest = hashlib.sha256()
    for key, value in sorted(nowcaster.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return f"{name} weights {digest.hexdigest()[:16]}"
