"""What work asks of the device that it runs on: the one place that knows accelerators, whatever their make.

CUDA, ROCm (``cuda`` in torch), XPU and MPS are all `torch.accelerator`; what only some of them have is looked up in
``torch.get_device_module``. All other modules only tell the CPU from other devices.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache

import torch

# Compute capability from which float16 products are faster: Volta, Turing (which lack bfloat16).
TENSOR_CORES = (7, 0)


def default_device() -> torch.device:
    """The accelerator if there is one, else the CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def device_names() -> list[str]:
    """What a device may be called here: ``cpu``, and the accelerators that torch sees.

    >>> "cpu" in device_names()
    True
    """
    there = default_device()
    if there.type == "cpu":
        return ["cpu"]
    return ["cpu", there.type, *(f"{there.type}:{i}" for i in range(torch.accelerator.device_count()))]


def device_named(name: str) -> torch.device:
    """The device of this name; ``auto`` is the accelerator if there is one, else the CPU.

    Raises:
        ValueError: for a name that means nothing to torch, or a device that is not there; says which are.

    >>> device_named("cpu")
    device(type='cpu')
    """
    if name == "auto":
        return default_device()
    if name not in device_names():
        raise ValueError(f"`device` (={name!r}) must be auto or one that torch finds here: {', '.join(device_names())}")
    return torch.device(name)


def synchronize(device: torch.device | str) -> None:
    """Wait until an accelerator has done what it was given; nothing on a CPU."""
    if torch.device(device).type != "cpu":
        torch.accelerator.synchronize(device)


def wait_for_copies(device: torch.device) -> None:
    """Wait for what this thread has given the device, copies into page-locked memory among it; nothing on a CPU."""
    if device.type != "cpu":
        torch.accelerator.current_stream(device).synchronize()


def pins_memory(device: torch.device) -> bool:
    """Whether there is page-locked memory, into and from which the device copies while the host goes on."""
    return device.type != "cpu" and _pins_memory()


@cache
def _pins_memory() -> bool:
    try:
        return torch.empty(1, pin_memory=True).is_pinned()
    except RuntimeError:  # a make that shares its memory with the host has no need of it
        return False


def reset_peak(device: torch.device) -> bool:
    """Restart the device's count of its peak memory; whether it keeps one (a CPU and MPS do not)."""
    reset = getattr(torch.get_device_module(device), "reset_peak_memory_stats", None)
    if reset is not None:
        reset(device)
    return reset is not None


def peak_allocated(device: torch.device) -> int | None:
    """The most memory that the device had allocated since `reset_peak`; None where it keeps no count."""
    most = getattr(torch.get_device_module(device), "max_memory_allocated", None)
    return None if most is None else most(device)


def product_dtype(device: torch.device) -> torch.dtype | None:
    """The dtype of fast matrix products: bfloat16, float16 on older tensor cores; None where there is float32 alone."""
    if device.type == "cpu" or not torch.amp.is_autocast_available(device.type):
        return None
    module = torch.get_device_module(device)
    if hasattr(module, "is_bf16_supported") and module.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    capability = module.get_device_capability(device) if hasattr(module, "get_device_capability") else None
    return torch.float16 if isinstance(capability, tuple) and capability >= TENSOR_CORES else None


@contextmanager
def same_rng(devices: Iterable[torch.device] | None = None) -> Iterator[None]:
    """Leave the global random number generators as they were: the CPU's, and those of accelerators.

    Args:
        devices: whose generators; None takes those of all accelerators, once they are in use.
    """
    there = default_device()
    if devices is not None:
        indices = [_index(device) for device in devices if device.type != "cpu"]
    elif there.type == "cpu" or not getattr(torch.get_device_module(there), "is_initialized", lambda: True)():
        indices = []
    else:
        indices = list(range(torch.accelerator.device_count()))
    with torch.random.fork_rng(devices=indices, device_type=there.type):
        yield


def seed_generator(device: torch.device, number: int) -> None:
    """Seed the device's global random number generator, and no other's."""
    module = torch.get_device_module(device)
    if device.type == "cpu":
        torch.default_generator.manual_seed(number)
    elif hasattr(module, "default_generators"):
        module.default_generators[_index(device)].manual_seed(number)
    else:
        module.manual_seed(number)


def use_accelerator(device: torch.device, index: int) -> torch.device:
    """The accelerator of this number, which the process uses from here on; the CPU as it is."""
    if device.type == "cpu":
        return device
    torch.get_device_module(device).set_device(index)
    return torch.device(device.type, index)


def accelerator_models() -> list[str]:
    """Model names of the accelerators that torch sees; their kind where torch knows none."""
    there = default_device()
    if there.type == "cpu":
        return []
    name = getattr(torch.get_device_module(there), "get_device_name", lambda _: there.type)
    return [name(i) for i in range(torch.accelerator.device_count())]


def _index(device: torch.device) -> int:
    return torch.accelerator.current_device_index() if device.index is None else device.index
