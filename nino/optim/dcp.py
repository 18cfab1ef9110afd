"""The wrapper as ``torch.distributed.checkpoint`` sees it: nowcasts are one more part of every parameter's state.

``get_optimizer_state_dict`` and ``set_optimizer_state_dict`` read an optimizer through ``state``, ``param_groups``,
``state_dict`` and ``load_state_dict``, and know nothing but ``state`` and ``param_groups`` in a state dict. They let a
fresh optimizer take a step with zero gradients, to learn which tensors its state has. Here they find, beside the base
optimizer's entries,

- ``nino_state_0``, ... for each trained parameter: its values in the saved states, of its own shape, so that they are
  sharded and loaded as the parameter is;
- ``nino_rest_0``, ... for the first one: the saved states of all parameters that are not trained here;
- ``nino_about`` for the first one: an integer whose bytes are everything else, as JSON text.

All c states are there from the start (zeros until they are saved), so that ``dcp.load`` into a fresh state finds a
place for every tensor.
"""

from __future__ import annotations

import copy
import json
import sys
import weakref
from collections.abc import Iterator, Mapping
from itertools import chain, groupby, islice
from traceback import walk_stack
from typing import Any

import torch
from torch import Tensor

from nino.device import same_rng
from nino.optim.nowcasting import Nowcasting
from nino.optim.optimizer_view import is_fresh

CALLER = "torch.distributed.checkpoint.state_dict"
ABOUT, STATE, REST = "nino_about", "nino_state_", "nino_rest_"


def asked_by_dcp(depth: int = 12) -> bool:
    """Whether ``torch.distributed.checkpoint`` is among the callers, at most ``depth`` calls up."""
    callers = islice(walk_stack(sys._getframe(1)), depth)
    return any(frame.f_globals.get("__name__") == CALLER for frame, _ in callers)


class StateNames(Mapping[Tensor, dict[str, None]]):
    """The names of the entries in each parameter's state, as `spread` makes them; never empty.

    Args:
        nowcasting: of the wrapper.
    """

    def __init__(self, nowcasting: Nowcasting) -> None:
        """Find out which entries a fresh base optimizer will have."""
        self._nowcasting, self._first = nowcasting, next(iter(_carriers(nowcasting).values()), None)
        base = nowcasting.base
        self._fresh = _names_after_a_step(base, len(_held(nowcasting))) if is_fresh(base) else {}

    def __getitem__(self, parameter: Tensor) -> dict[str, None]:
        """The names of a parameter's entries, as keys."""
        base = [*(self._nowcasting.base.state.get(parameter, {})), *self._fresh.get(id(parameter), ())]
        names = [f"{STATE}{i}" for i in range(self._nowcasting.history.context)]
        if parameter is self._first:
            names += [f"{REST}{i}" for i in range(self._nowcasting.history.context)] if _rest(self._nowcasting) else []
            names.append(ABOUT)
        return dict.fromkeys([*base, *names])

    def __iter__(self) -> Iterator[Tensor]:
        """The base optimizer's parameters."""
        return iter(_held(self._nowcasting))

    def __len__(self) -> int:
        """How many these are."""
        return len(_held(self._nowcasting))


def spread(nowcasting: Nowcasting, state: dict[str, Any]) -> dict[str, Any]:
    """A state dict whose entry ``nino`` is spread over the states of the parameters.

    Args:
        nowcasting: of the wrapper.
        state: its state dict.

    Raises:
        ValueError: for a base optimizer whose state dict is built in its own way, and where processes share the states.
    """
    if "state" not in state or "param_groups" not in state:
        raise ValueError(
            f"the state dict of {type(nowcasting.base).__name__} has no 'state' and 'param_groups', which "
            f"get_optimizer_state_dict needs: store `to_tensors(opt.state_dict())` instead"
        )
    if nowcasting.apart:
        raise ValueError(
            "processes share the saved states: store get_optimizer_state_dict(model, opt.base) and, beside it, "
            "`opt.nowcasts`; see docs/scale.md"
        )
    nowcasts = dict(state["nino"])
    rows, context = nowcasts.pop("states"), nowcasting.history.context
    fresh = is_fresh(nowcasting.base)
    base = _state_after_a_step(nowcasting.base) if fresh else state
    schedule = nowcasts["schedule"]
    nowcasts |= {"fresh": fresh, "schedule": {**schedule, "horizons": _runs(schedule["horizons"])}}
    del nowcasts["parameters"]
    places = {id(p): i for i, p in enumerate(_held(nowcasting))}
    entries = {i: dict(base["state"].get(i, {})) for i in range(len(places)) if i in base["state"]}
    parts = dict(zip(nowcasting.named, rows.split([p.numel() for p in nowcasting.named.values()], dim=1), strict=True))
    carriers = _carriers(nowcasting)
    for name, parameter in carriers.items():
        entry = entries.setdefault(places[id(parameter)], {})
        for i, row in enumerate(_filled(parts[name], context)):
            entry[f"{STATE}{i}"] = row.view(parameter.shape).to(parameter.device)
    if carriers:
        first = entries[places[id(next(iter(carriers.values())))]]
        if rest := _rest(nowcasting):
            whole = _filled(torch.cat([parts[name] for name in rest], dim=1), context)
            first |= {f"{REST}{i}": row for i, row in enumerate(whole)}
        first[ABOUT] = int.from_bytes(json.dumps(nowcasts).encode())
    return {"state": entries, "param_groups": base["param_groups"]}


def gather(nowcasting: Nowcasting, state: dict[str, Any]) -> dict[str, Any]:
    """The state dict that `spread` was given; one that it did not make is returned as it is.

    Args:
        nowcasting: of the wrapper; parameters are recognised by their place in its groups.
        state: of `spread`, perhaps with names in place of the parameters' numbers.

    Raises:
        ValueError: for groups that hold other parameters than the optimizer's, and for fewer states than were saved.
    """
    entries: dict[Any, dict[str, Any]] = state.get("state", {})
    about = next((entry[ABOUT] for entry in entries.values() if isinstance(entry, Mapping) and ABOUT in entry), None)
    if about is None:
        return state
    about = int(about)
    nowcasts = json.loads(about.to_bytes(-(-about.bit_length() // 8)).decode())
    keys = list(chain.from_iterable(group["params"] for group in state["param_groups"]))
    held = _held(nowcasting)
    if len(keys) != len(held):
        raise ValueError(f"`state_dict` holds {len(keys)} parameters, but the optimizer has {len(held)}")
    entry_of = {id(p): entries.get(key, {}) for p, key in zip(held, keys, strict=True)}
    first = next(entry for entry in entry_of.values() if ABOUT in entry)
    carriers = _carriers(nowcasting)
    saved = nowcasts["saved"] = _usable_states(nowcasting, nowcasts, [entry_of[id(p)] for p in carriers.values()])
    rest = [first[f"{REST}{i}"].cpu() if f"{REST}{i}" in first else torch.empty(0) for i in range(saved)]
    lengths = [p.numel() for name, p in nowcasting.named.items() if name not in carriers]
    others = iter(zip(*(row.split(lengths) if len(row) == sum(lengths) else [] for row in rest), strict=True))
    shapes, columns = {}, []
    for name, parameter in nowcasting.named.items():
        if name in carriers:
            entry = entry_of[id(parameter)]
            shapes[name] = list(entry[f"{STATE}0"].shape) if f"{STATE}0" in entry else []
            parts = [entry[f"{STATE}{i}"].detach().cpu().reshape(-1) for i in range(saved) if f"{STATE}{i}" in entry]
        else:
            shapes[name], parts = list(parameter.shape), list(next(others, ()))
        columns.append(torch.stack(parts) if parts else torch.empty(saved, 0 if saved else parameter.numel()))
    nowcasts["schedule"]["horizons"] = [k for k, times in nowcasts["schedule"]["horizons"] for _ in range(times)]
    fresh = nowcasts.pop("fresh")
    base = {k: {n: v for n, v in e.items() if not n.startswith("nino_")} for k, e in entries.items() if not fresh}
    return {
        "state": {key: entry for key, entry in base.items() if entry},
        "param_groups": state["param_groups"],
        "nino": {**nowcasts, "parameters": shapes, "states": torch.cat(columns, dim=1)},
    }


def _usable_states(nowcasting: Nowcasting, nowcasts: dict[str, Any], entries: list[Mapping[str, Any]]) -> int:
    """How many states there are to go on from: all that were saved or, where another schedule rules, perhaps none.

    Raises:
        ValueError: where ``dcp.load`` has left states behind that are needed, as it fills the places it finds.
    """
    saved, context, here = int(nowcasts["saved"]), nowcasts["schedule"]["context"], nowcasting.history.context
    if all(f"{STATE}{i}" in entry for entry in entries if f"{STATE}0" in entry for i in range(saved)):
        return saved
    if nowcasting.resume_schedule == "given" and context != here:
        return 0
    raise ValueError(
        f"`state_dict` lacks some of the {saved} saved states: it was saved with context={context}, but this optimizer "
        f"has context={here}, and `dcp.load` leaves behind what finds no place: pass context={context}, or "
        f"resume_schedule='given' to drop the states"
    )


def _held(nowcasting: Nowcasting) -> list[Tensor]:
    """The base optimizer's parameters, in the order in which its state dict numbers them."""
    return list(chain.from_iterable(group["params"] for group in nowcasting.base.param_groups))


def _carriers(nowcasting: Nowcasting) -> dict[str, Tensor]:
    """The parameters with states of their own here: held by the base optimizer, and not frozen."""
    held = {id(p) for p in _held(nowcasting)}
    return {name: p for name, p in nowcasting.named.items() if id(p) in held and p.requires_grad}


def _rest(nowcasting: Nowcasting) -> list[str]:
    carriers = _carriers(nowcasting)
    return [name for name in nowcasting.named if name not in carriers]


def _filled(rows: Tensor, context: int) -> Tensor:
    """Saved states, and zeros in the place of those that are not saved yet."""
    return torch.cat([rows, rows.new_zeros(context - len(rows), rows.shape[1])])


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Numbers and how often each stands in a row.

    >>> _runs([40, 40, 1])
    [(40, 2), (1, 1)]
    """
    return [(number, len([*equal])) for number, equal in groupby(numbers)]


_NAMES: weakref.WeakKeyDictionary[Any, dict[int, list[str]]] = weakref.WeakKeyDictionary()


def _names_after_a_step(base: Any, parameters: int) -> dict[int, list[str]]:
    """The names of a fresh optimizer's entries after a step, by the ``id`` of the parameter; found out once."""
    if len(_NAMES.get(base, {})) != parameters:
        entries = _state_after_a_step(base)["state"]
        held = chain.from_iterable(group["params"] for group in base.param_groups)
        _NAMES[base] = {id(p): list(entries.get(i, ())) for i, p in enumerate(held)}
    return _NAMES[base]


@torch.no_grad()
def _state_after_a_step(base: Any) -> dict[str, Any]:
    """The state dict that a fresh optimizer will have after a step; the optimizer stays fresh.

    A base optimizer that needs a closure has no such entries.
    """
    mode = getattr(base, "train_mode", True)
    parameters = list(chain.from_iterable(group["params"] for group in base.param_groups))
    values, grads = [p.detach().clone() for p in parameters], [p.grad for p in parameters]
    groups = [{key: copy.copy(value) for key, value in group.items() if key != "params"} for group in base.param_groups]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    try:
        if hasattr(base, "train"):  # schedule-free optimizers step in training mode only
            base.train()
        with same_rng():
            type(base).step(base)  # not a scheduler's counted one
        state = {**base.state_dict(), "param_groups": None}
    except Exception:  # whatever it needs and does not get here
        state = {"state": {}}
    finally:
        base.state.clear()
        if not mode:
            base.eval()
        for group, before in zip(base.param_groups, groups, strict=True):
            for key in [key for key in group if key != "params" and key not in before]:
                del group[key]
            group.update(before)
        for parameter, value, grad in zip(parameters, values, grads, strict=True):
            parameter.copy_(value)
            parameter.grad = grad
    return {**state, "param_groups": base.state_dict()["param_groups"]}
