"""Two processes: one computes, both end with the same parameters."""

from __future__ import annotations

import socket

import pytest
import torch.distributed as dist
import torch.multiprocessing as mp

from tests.optim.ranks import work


@pytest.mark.skipif(not dist.is_available(), reason="this build of torch has no distributed support")
def test_two_ranks_stay_identical():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(work, args=(port,), nprocs=2)
