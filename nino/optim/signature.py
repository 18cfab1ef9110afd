"""The signature by which a saved optimizer state recognises the nowcaster that it was saved with."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from nino.nowcasters.base import Nowcaster


def nowcaster_signature(nowcaster: Nowcaster | None) -> str | None:
    """What identifies a nowcaster: its class, context and horizon, its settings, and a hash of its weights.

    Settings are what ``extra_repr`` returns for it and for a nowcaster inside it: a share of the edges, a division.
    A nowcaster that is no ``nn.Module`` is identified by class, context and horizon alone.

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
