"""An ATen operation as it is called: its name, its arguments, what it returns and writes."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from nino.device import same_rng


def plain_stride(tensor: Tensor, size: Any, stride: Any) -> str:
    """``alias`` or ``view`` if an ``as_strided`` call amounts to one, else ``as_strided``: whose rule applies."""
    if tuple(size) == tuple(tensor.shape) and all(
        a == b or n == 1 for a, b, n in zip(stride, tensor.stride(), size, strict=True)
    ):
        return "alias"
    step, dense = 1, True
    for n, s in zip(reversed(list(size)), reversed(list(stride)), strict=True):
        dense, step = dense and (n == 1 or s == step), step * n
    return "view" if dense and tensor.is_contiguous() and step == tensor.numel() else "as_strided"


def name_of(func: Any) -> tuple[str, bool]:
    """An operation's name without its in-place mark, and whether it writes."""
    full = func._schema.name.partition("::")[2]
    writes = func._schema.is_mutable
    name = full
    if name.endswith("_") and not name.startswith("__") and writes:
        name = name[:-1]
    return name, writes


def written_by(func: Any, args: Any, kwargs: Any) -> list[Any]:
    """What an operation writes, in the order of its schema."""
    out = []
    for i, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            out.append(args[i] if i < len(args) else kwargs.get(argument.name))
    return out


def by_name(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments by the names of the schema, with its defaults."""
    out: dict[str, Any] = {}
    for i, argument in enumerate(func._schema.arguments):
        if i < len(args):
            out[argument.name] = args[i]
        elif argument.name in kwargs:
            out[argument.name] = kwargs[argument.name]
        elif argument.has_default_value():
            out[argument.name] = argument.default_value
    return out


def tensors_in(result: Any) -> tuple[Tensor | None, ...]:
    """Tensors that an operation returned, those in lists too."""
    if isinstance(result, list | tuple):
        return tuple(x if isinstance(x, Tensor) else None for x in tree_flatten(result)[0])
    return (result if isinstance(result, Tensor) else None,)


def strides_of(tensor: Tensor) -> tuple[int, ...]:
    """Steps between elements, also for tensors that say none."""
    try:
        return tuple(tensor.stride())
    except RuntimeError:  # sparse and the like have none
        strides, step = [], 1
        for size in reversed(tensor.shape):
            strides.append(step)
            step *= max(size, 1)
        return tuple(reversed(strides))


@contextmanager
def plain_kernels() -> Iterator[None]:
    """Fused kernels off, so that their parts are seen; random states kept, no cast weights left in autocast's cache."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    fast = torch.backends.mha.get_fastpath_enabled()
    drawn, numbers = random.getstate(), np.random.get_state()
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(same_rng())
        torch.backends.mha.set_fastpath_enabled(False)
        log = logging.getLogger("torch._subclasses.fake_tensor")
        was, log.disabled = log.disabled, True  # it prints the traceback of every shape error
        mkldnn = torch._C._get_mkldnn_enabled()
        torch._C._set_mkldnn_enabled(False)
        cached = torch.is_autocast_cache_enabled()
        torch.set_autocast_cache_enabled(False)
        try:
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
            torch._C._set_mkldnn_enabled(mkldnn)
            torch.clear_autocast_cache()  # the model's own autocast may keep fake weights all the same
            torch.set_autocast_cache_enabled(cached)
            log.disabled = was
            random.setstate(drawn)
            np.random.set_state(numbers)
