"""nino.allocator: freed memory stays with the process."""

import platform
import subprocess
import sys

import pytest

from nino.allocator import keep_freed_memory

FAULTS = """
import resource, sys, torch
from nino.allocator import keep_freed_memory
torch.set_num_threads(1)
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_memory_of_any_size_is_reused() -> None:
    counts = {
        how: int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout)
        for how in ("keep", "leave")
    }
    assert counts["keep"] < 100, "64 MiB tensors must come from memory that the process already has"
    assert counts["leave"] > 100, "without it every tensor's pages are new: else this test shows nothing"


def test_a_system_without_mallopt_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nino.allocator.sys.platform", "darwin")
    assert keep_freed_memory() is False
