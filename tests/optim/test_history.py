"""The saved states, in every place and dtype."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import nn

from nino.optim.history import History


def parameters():
    conv = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    return [conv.weight, conv.bias, nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.randn(5).bfloat16())]


def flat(ps):
    return torch.cat([p.detach().float().reshape(-1) for p in ps])


@pytest.mark.parametrize("place", ["auto", "cpu", "pinned", "device", "disk"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_states_come_back_in_order(place, dtype, tmp_path):
    ps = parameters()
    history = History(ps, 3, place, dtype, tmp_path)
    expected = []
    for turn in range(2):
        for slot in range(3):
            with torch.no_grad():
                ps[0].mul_(1.1 + turn)
            history.save(slot)
            expected.append(flat(ps).to(dtype))
        assert torch.equal(history.states(), torch.stack(expected[-3:], 1))
        assert torch.equal(history.rows(), torch.stack(expected[-3:]))
        assert history.finite
        history.clear()
        assert len(history) == 0 and history.rows().shape == (0, flat(ps).numel())
    assert history.nbytes == 3 * flat(ps).numel() * dtype.itemsize


def test_no_memory_is_taken_before_the_first_state():
    assert History(parameters(), 5)._buffer is None


def test_saving_again_into_a_slot_forgets_the_later_ones_and_gaps_are_refused():
    history = History(parameters(), 4)
    for slot in (0, 1, 2, 1):
        history.save(slot)
    assert len(history) == 2
    with pytest.raises(ValueError, match=r"`slot` \(=3\) must be 2, the next one"):
        history.save(3)


def test_the_file_goes_with_the_history(tmp_path):
    history = History(parameters(), 2, "disk", directory=tmp_path)
    history.save(0)
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size == history.nbytes
    del history
    gc.collect()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("value", "dtype"), [(torch.nan, torch.float32), (torch.inf, torch.float32), (1e6, torch.float16)]
)
def test_values_that_the_dtype_cannot_hold_are_noticed(value, dtype):
    ps = parameters()
    history = History(ps, 3, dtype=dtype)
    history.save(0)
    assert history.finite
    with torch.no_grad():
        ps[0][0, 0, 0, 0] = value
    history.save(1)
    assert not history.finite
