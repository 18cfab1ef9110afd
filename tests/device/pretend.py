"""A second device made of CPU tensors, ``pretend:0``, for tests of GPU code paths on machines without a GPU.

Its tensors compute on the CPU, with the CPU's bits, and follow CUDA's rules:

- they do not mix with CPU tensors, except as copies, as indices into them, and with CPU scalars;
- a copy into page-locked memory is done when the device is waited for, and reads NaN before;
- autocast computes matrix products in the lower precision;
- NumPy does not see them.

``install()`` changes torch for the whole process: tests run it in one of their own (`tests.device.stages`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import cache
from types import SimpleNamespace
from typing import Any

import torch
from torch.utils import backend_registration

NAME = "pretend"
COPIES = ("aten::copy_", "aten::_to_copy")
INDEXING = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "linear", "matmul", "conv2d", "scaled_dot_product_attention")
"""What autocast computes in the lower precision, of what the tests use."""

_empty, _pin_memory, _is_pinned = torch.empty, torch.Tensor.pin_memory, torch.Tensor.is_pinned
_locked: dict[int, torch.Tensor] = {}  # page-locked memory by its address; held, so that no address is given out twice
_under_way: list[tuple[torch.Tensor, torch.Tensor]] = []  # copies into it that nobody has waited for: where to, what


class Pretend(torch.Tensor):
    """Holds a CPU tensor and says that it is on ``pretend:0``."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Pretend:
        about = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "dtype": inner.dtype}
        made = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, inner.size(), **about, layout=inner.layout, device=torch.device(NAME, 0), requires_grad=False
        )
        made.inner = inner
        return made

    def __repr__(self) -> str:
        return f"Pretend({self.inner!r})"

    @property
    def data(self) -> torch.Tensor:
        return self.detach()

    @data.setter
    def data(self, value: torch.Tensor) -> None:
        """What torch does, and for what the tensor holds, too."""
        assert isinstance(value, Pretend)
        torch._C.TensorBase.data.__set__(self, value)  # type: ignore[attr-defined]
        self.inner = value.inner

    def __getitem__(self, index: Any) -> torch.Tensor:
        return super().__getitem__(torch.tensor(index) if isinstance(index, list) else index)

    def new_tensor(self, data: Any, **kwargs: Any) -> torch.Tensor:  # type: ignore[override]
        return Pretend(torch.tensor(data, dtype=kwargs.get("dtype", self.dtype)))

    def tolist(self) -> Any:
        return on_host(self).tolist()

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError(f"can't convert {NAME}:0 device type tensor to numpy. Use Tensor.cpu() first")

    def __deepcopy__(self, memo: dict[int, Any]) -> Pretend:
        copy = Pretend(self.inner.clone()).requires_grad_(self.requires_grad)
        if isinstance(self, torch.nn.Parameter):
            copy = torch.nn.Parameter(copy, self.requires_grad)  # type: ignore[assignment]
        memo[id(self)] = copy
        return copy

    def __reduce_ex__(self, protocol: Any) -> Any:
        """A file holds the CPU tensor, as if it were read with ``map_location="cpu"``."""
        plain = on_host(self)
        return (torch.nn.Parameter(plain) if isinstance(self, torch.nn.Parameter) else plain).__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def on_host(tensor: torch.Tensor) -> torch.Tensor:
    """The CPU tensor that one holds, all copies under way done; a CPU tensor as it is."""
    wait()
    return tensor.inner if isinstance(tensor, Pretend) else tensor


def wait(*_: Any) -> None:
    """Do the copies that are under way."""
    while _under_way:
        target, value = _under_way.pop(0)
        target.copy_(value)


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """One operation: refuse what CUDA refuses, compute on the CPU, and say that the results are on the device."""
    name = func._schema.name
    there = any(isinstance(x, Pretend) for x in _leaves((args, kwargs)))
    if there and name not in COPIES:
        _refuse_mixtures(name, args, kwargs)
    if kwargs.get("device") is not None:
        there = torch.device(kwargs["device"]).type == NAME
    elif name == "aten::copy_":
        there = isinstance(args[0], Pretend)
        if not there and kwargs.get("non_blocking", args[2] if len(args) > 2 else False) and _is_locked(args[0]):
            _under_way.append((args[0], args[1].inner.clone()))
            return args[0].fill_(torch.nan)
    if not there:
        wait()  # the host reads a value
    plain, named = _mapped(lambda x: x.inner if isinstance(x, Pretend) else x, (args, kwargs))
    if named.get("device") is not None:
        named["device"] = torch.device("cpu")
    named.pop("pin_memory", None)
    results = func(*plain, **named)
    written = {id(x.inner): x for x in _written(func, args, kwargs)}
    if torch.Tag.inplace_view in func.tags:  # another shape in place, which the wrapper takes on, too
        with torch._C._DisableTorchDispatch():  # type: ignore[attr-defined]
            func(*args, **kwargs)

    def dressed(x: Any) -> Any:
        if not isinstance(x, torch.Tensor) or isinstance(x, Pretend):
            return x
        return written[id(x)] if id(x) in written else Pretend(x) if there else x

    return _mapped(dressed, results)


def _leaves(values: Any) -> Iterator[Any]:
    """What nested lists and mappings hold; torch's own ``tree_iter`` takes many times as long."""
    if isinstance(values, dict):
        values = tuple(values.values())
    if isinstance(values, list | tuple):
        for value in values:
            yield from _leaves(value)
    else:
        yield values


def _mapped(function: Callable[[Any], Any], values: Any) -> Any:
    """The same nesting of what a function makes of each of them."""
    if isinstance(values, dict):
        return {name: _mapped(function, value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return type(values)([_mapped(function, value) for value in values])
    return function(values)


def _refuse_mixtures(name: str, args: Any, kwargs: dict[str, Any]) -> None:
    """Raise as CUDA does where an operation meets tensors of both devices."""
    if name in INDEXING and isinstance(args[0], Pretend):  # indices may be on the CPU
        args = (args[0], *args[2:])
    for x in _leaves((args, kwargs)):
        if isinstance(x, torch.Tensor) and not isinstance(x, Pretend) and x.dim() > 0:
            raise RuntimeError(f"Expected all tensors to be on the same device, but found {NAME}:0 and cpu ({name})")


def _written(func: Any, args: Any, kwargs: dict[str, Any]) -> list[Pretend]:
    """The device's tensors that an operation writes into."""
    changed = [args[i] if i < len(args) else kwargs.get(name) for i, name in _outputs(func)]
    return [x for x in changed if isinstance(x, Pretend)]


@cache
def _outputs(func: Any) -> list[tuple[int, str]]:
    """Places and names of the arguments that an operation writes into."""
    aliases = [(i, argument.name, argument.alias_info) for i, argument in enumerate(func._schema.arguments)]
    return [(i, name) for i, name, alias in aliases if alias is not None and alias.is_write]


def _is_locked(tensor: torch.Tensor) -> bool:
    return not isinstance(tensor, Pretend) and tensor.untyped_storage().data_ptr() in _locked


def _lock(tensor: torch.Tensor) -> torch.Tensor:
    _locked[tensor.untyped_storage().data_ptr()] = tensor
    return tensor


def _in_lower_precision(operation: Any) -> Callable[..., Any]:
    """A kernel of autocast: float32 tensors go into a product in the lower precision."""
    keys = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)

    def lower(x: Any) -> Any:
        fits = isinstance(x, torch.Tensor) and x.dtype == torch.float32
        return x.to(torch.get_autocast_dtype(NAME)) if fits else x

    def kernel(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(keys):
            return operation(*_mapped(lower, args), **_mapped(lower, kwargs))

    return kernel


class _KindOfGenerator(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, torch._C.Generator)


class _Generator(metaclass=_KindOfGenerator):
    """Makes the CPU's generators, whichever device is asked for: they draw the CPU's numbers."""

    def __new__(cls, device: Any = "cpu") -> Any:
        return torch._C.Generator("cpu" if torch.device(device).type == NAME else device)


class _Module(backend_registration._DummyBackendModule):
    """What ``torch.pretend`` is: the names that other makes have, as far as the project asks for them."""

    default_generators = (torch.default_generator,)
    is_available = staticmethod(lambda: True)
    device_count = staticmethod(lambda: 1)
    current_device = staticmethod(lambda: 0)
    set_device = staticmethod(lambda _: None)
    get_amp_supported_dtype = staticmethod(lambda: [torch.float16, torch.bfloat16])
    is_bf16_supported = staticmethod(lambda including_emulation: not including_emulation)
    get_rng_state = staticmethod(lambda *_: torch.get_rng_state())
    set_rng_state = staticmethod(lambda state, *_: torch.set_rng_state(state))


def install() -> torch.device:
    """Make ``pretend`` torch's accelerator; before anything makes a tensor."""
    backend_registration._setup_privateuseone_for_python_backend(NAME, _Module())
    _keep(torch.library.Library("_", "IMPL")).fallback(lambda func, *a, **k: _run(func, a, k), "PrivateUse1")
    fallback = _keep(torch.library.Library("_", "IMPL"))
    fallback.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    products = _keep(torch.library.Library("aten", "IMPL"))
    for name in PRODUCTS:
        products.impl(name, _in_lower_precision(getattr(torch.ops.aten, name)), "AutocastPrivateUse1")
    torch.__future__.set_swap_module_params_on_conversion(True)
    replaced: dict[Any, dict[str, Any]] = {
        torch: {
            "inference_mode": lambda mode=True: torch.no_grad() if mode else nullcontext(),
            "empty": lambda *size, pin_memory=False, **kw: (
                _lock(_empty(*size, **kw)) if pin_memory else _empty(*size, **kw)
            ),
            "Generator": _Generator,
        },
        torch.accelerator: {"synchronize": wait, "current_stream": lambda *_: SimpleNamespace(synchronize=wait)},
        torch.Tensor: {
            "pin_memory": lambda self, *_: _lock(self.clone()),
            "is_pinned": lambda self, *_: _is_locked(self),
        },
    }
    for place, names in replaced.items():
        for name, value in names.items():
            setattr(place, name, value)
    return torch.device(NAME, 0)


_libraries: list[torch.library.Library] = []


def _keep(library: torch.library.Library) -> torch.library.Library:
    """A library's kernels are there as long as the library is."""
    _libraries.append(library)
    return library
