"""What `nino.device` says of a machine, with and without an accelerator."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from nino import device

GPU = torch.device("xpu")


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A machine with two accelerators of a make that nothing in the project names."""
    module = SimpleNamespace(default_generators=[torch.Generator(), torch.Generator()])
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: GPU)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    monkeypatch.setattr(torch.accelerator, "current_device_index", lambda: 1)
    monkeypatch.setattr(torch, "get_device_module", lambda place: module)
    return module


def test_a_machine_without_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    assert device.device_named("auto") == device.device_named("cpu") == torch.device("cpu")
    assert device.device_names() == ["cpu"] and device.accelerator_models() == []
    for name in ("cuda", "cuda:1", "tpu", "cuda:x", ""):
        with pytest.raises(ValueError, match=rf"`device` \(='{name}'\) must be auto or .* finds here: cpu$"):
            device.device_named(name)


def test_an_accelerator_is_called_what_torch_calls_it(two_gpus: SimpleNamespace) -> None:
    assert device.device_named("auto") == GPU and device.device_named("xpu:1") == torch.device("xpu", 1)
    with pytest.raises(ValueError, match="finds here: cpu, xpu, xpu:0, xpu:1$"):
        device.device_named("cuda")
    assert device.accelerator_models() == ["xpu", "xpu"]
    two_gpus.get_device_name = lambda i: f"Model {i}"
    assert device.accelerator_models() == ["Model 0", "Model 1"]


@pytest.mark.parametrize(
    ("bfloat16", "capability", "dtype"),
    [
        (True, (9, 0), torch.bfloat16),
        (False, (7, 5), torch.float16),
        (False, (6, 1), None),
        (False, {"name": "of another make"}, None),
        (None, None, None),
    ],
)
def test_products_are_in_what_a_gpu_has(
    two_gpus: SimpleNamespace, bfloat16: bool | None, capability: object, dtype: torch.dtype | None
) -> None:
    if bfloat16 is not None:
        two_gpus.is_bf16_supported = lambda including_emulation: bfloat16
        two_gpus.get_device_capability = lambda _: capability
    assert device.product_dtype(GPU) == dtype
    assert device.product_dtype(torch.device("cpu")) is None


def test_only_the_generator_asked_for_is_seeded(two_gpus: SimpleNamespace) -> None:
    first, second = two_gpus.default_generators
    states = [first.get_state(), torch.get_rng_state()]
    device.seed_generator(GPU, 5)  # the one in use, 1
    assert second.initial_seed() == 5
    assert all(torch.equal(a, b) for a, b in zip(states, [first.get_state(), torch.get_rng_state()], strict=True))
    device.seed_generator(torch.device("xpu", 0), 6)
    assert first.initial_seed() == 6


def test_memory_that_is_not_counted_is_none(two_gpus: SimpleNamespace) -> None:
    assert not device.reset_peak(GPU) and device.peak_allocated(GPU) is None
    calls = []
    two_gpus.reset_peak_memory_stats, two_gpus.max_memory_allocated = calls.append, lambda place: 7
    assert device.reset_peak(GPU) and calls == [GPU] and device.peak_allocated(GPU) == 7


def test_a_process_takes_its_own_accelerator(two_gpus: SimpleNamespace) -> None:
    taken = []
    two_gpus.set_device = taken.append
    assert device.use_accelerator(GPU, 1) == torch.device("xpu", 1) and taken == [1]
    assert device.use_accelerator(torch.device("cpu"), 1) == torch.device("cpu") and taken == [1]
