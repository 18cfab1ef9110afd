"""A state dict as one flat dict of tensors, for stores that hold nothing else (safetensors, DCP)."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

SKELETON = "nino.skeleton"


def to_tensors(state: Any) -> dict[str, Tensor]:
    """A state dict as one flat dict of contiguous tensors that share no storage: what safetensors and DCP store.

    What is not a tensor (numbers, strings, the nesting, strides of tensors in other memory formats) is kept as JSON in
    a uint8 tensor.

    Args:
        state: dicts (keys str or int), lists and tuples of tensors, numbers, strings, booleans and None.

    Raises:
        TypeError: for a value of another kind; names its place.

    >>> state = {"lr": 0.1, "betas": (0.9, 0.99), "state": {0: torch.ones(2)}}
    >>> sorted(to_tensors(state))
    ['nino.skeleton', 'state.0']
    >>> from_tensors(to_tensors(state))
    {'lr': 0.1, 'betas': (0.9, 0.99), 'state': {0: tensor([1., 1.])}}
    """
    tensors: dict[str, Tensor] = {}
    skeleton = json.dumps(_pack(state, "", tensors))
    tensors[SKELETON] = torch.frombuffer(bytearray(skeleton, "utf-8"), dtype=torch.uint8)
    return tensors


def from_tensors(tensors: dict[str, Tensor]) -> Any:
    """The state dict that ``to_tensors`` was given.

    Raises:
        ValueError: for tensors that ``to_tensors`` did not make.
    """
    if SKELETON not in tensors:
        raise ValueError(f"no tensor {SKELETON!r} among {len(tensors)}: these tensors were not made by `to_tensors`")
    return _unpack(json.loads(bytes(tensors[SKELETON].tolist())), tensors)


def _pack(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[path] = value.detach().clone(memory_format=torch.contiguous_format)
        return {"tensor": path, "stride": None if value.is_contiguous() else list(value.stride())}
    if isinstance(value, dict):
        if wrong := [key for key in value if not isinstance(key, str | int)]:
            raise TypeError(f"{path or 'the state'} has a key {wrong[0]!r}: keys must be strings or whole numbers")
        return {"dict": [[key, _pack(item, f"{path}.{key}".lstrip("."), tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        items = [_pack(item, f"{path}.{i}".lstrip("."), tensors) for i, item in enumerate(value)]
        return {"list" if isinstance(value, list) else "tuple": items}
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    raise TypeError(f"{path or 'the state'} is a {type(value).__name__}: only tensors and plain values can be stored")


def _unpack(packed: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
    if "tensor" in packed:
        tensor = tensors[packed["tensor"]]
        if packed["stride"] is None:
            return tensor
        empty = torch.empty_strided(tensor.shape, packed["stride"], dtype=tensor.dtype, device=tensor.device)
        return empty.copy_(tensor)
    if "dict" in packed:
        return {key: _unpack(item, tensors) for key, item in packed["dict"]}
    if "list" in packed:
        return [_unpack(item, tensors) for item in packed["list"]]
    if "tuple" in packed:
        return tuple(_unpack(item, tensors) for item in packed["tuple"])
    return packed["value"]
