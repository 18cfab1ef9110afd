"""Two processes: one computes, both end with the same parameters."""

from __future__ import annotations

import pytest
import torch.distributed as dist

from tests.ranks import run_two_ranks


@pytest.mark.skipif(not dist.is_available(), reason="this build of torch has no distributed support")
def test_two_ranks_stay_identical():
    run_two_ranks("-m", "tests.optim.ranks")
