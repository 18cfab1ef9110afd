"""What ``NiNo.state_dict`` holds beside the base optimizer's state, and what makes it the right one to load."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nino.optim.model import compare_parameters
from nino.optim.schedule import Schedule

if TYPE_CHECKING:
    from nino.nowcasters.base import Nowcaster
    from nino.optim.wrapper import NiNo

log = logging.getLogger("nino.optim")

FORMAT = 1


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


def pack_state(opt: NiNo) -> dict[str, Any]:
    """``NiNo.state_dict``: the base optimizer's, and an entry ``nino`` of plain values and tensors."""
    for before in opt._optimizer_state_dict_pre_hooks.values():
        before(opt)
    state = dict(opt.base.state_dict())
    schedule = opt.schedule
    state["nino"] = {
        "format": FORMAT,
        "step": opt.steps,
        "enabled": opt.enabled,
        "parameters": {name: list(p.shape) for name, p in opt.named.items()},
        "nowcaster": nowcaster_signature(opt.nowcaster),
        "graph": None if opt.graph is None else opt.graph.signature(),
        "schedule": {
            "period": schedule.period,
            "context": schedule.context,
            "spacing": schedule.spacing,
            "horizons": list(schedule.horizons),
        },
        "counts": dict(opt.counts),
        "saved": len(opt.history),
        "finite": opt.history.finite,
        "states": opt.history.rows(),
    }
    for after in opt._optimizer_state_dict_post_hooks.values():
        if (changed := after(opt, state)) is not None:
            state = changed
    return state


def load_state(opt: NiNo, state: dict[str, Any]) -> None:
    """``NiNo.load_state_dict``: check everything, then take it over."""
    state = dict(state)
    for before in opt._optimizer_load_state_dict_pre_hooks.values():
        if (changed := before(opt, state)) is not None:
            state = changed
    if "nino" not in state:
        raise ValueError(
            "`state_dict` has no entry 'nino': it is the state of another optimizer; to start nowcasting from a base "
            "optimizer's state, load it there: `opt.base.load_state_dict(state_dict)`"
        )
    own = state.pop("nino")
    schedule = _checked(opt, own)
    opt.base.load_state_dict(state)
    if schedule != opt.schedule and opt.nowcaster is not None:
        log.warning("the schedule of the loaded state takes over: %s (was %s)", schedule, opt.schedule)
    opt.schedule = schedule
    opt.steps = int(own["step"])
    opt.counts = dict(own["counts"])
    opt.last_nowcast = None
    opt.enabled = bool(own["enabled"]) and opt.nowcaster is not None
    if opt.enabled:
        opt.history.load(own["states"], int(own["saved"]), bool(own["finite"]), schedule.context)
    for after in opt._optimizer_load_state_dict_post_hooks.values():
        after(opt)


def _checked(opt: NiNo, own: dict[str, Any]) -> Schedule:
    """The loaded schedule, once everything in ``own`` fits ``opt``."""
    if own["format"] != FORMAT:
        raise ValueError(f"`state_dict` has format {own['format']!r}, but this version of nino reads format {FORMAT}")
    compare_parameters({n: tuple(s) for n, s in own["parameters"].items()}, dict(opt.named), "`state_dict`")
    signature = nowcaster_signature(opt.nowcaster)
    if signature is not None and own["nowcaster"] != signature:
        raise ValueError(
            f"`state_dict` was saved with the nowcaster {own['nowcaster']}, but this optimizer has {signature}: pass "
            f"the same one, or go on with the base optimizer alone (nowcaster=None)"
        )
    if opt.graph is not None and own["graph"] not in (None, opt.graph.signature()):
        raise ValueError(
            f"`state_dict` was saved with a graph of signature {own['graph']}, but this optimizer's has "
            f"{opt.graph.signature()} (topology {opt.graph.topology!r}): pass the same `graph` or `topology`"
        )
    schedule = Schedule(**{**own["schedule"], "horizons": tuple(own["schedule"]["horizons"])})
    states: torch.Tensor = own["states"]
    if states.shape[0] not in (0, own["saved"]) or states.shape[1] != opt.history.size:
        raise ValueError(
            f"`state_dict` holds states of shape {tuple(states.shape)}, but {own['saved']} of {opt.history.size} "
            f"numbers each were saved: it is damaged"
        )
    if opt.history.hold and opt.enabled and not states.shape[0] and own["saved"]:
        raise ValueError("`state_dict` comes from a rank that keeps no states: load rank 0's")
    return schedule
