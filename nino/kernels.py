"""Which kernels compute on this CPU, and those that most machines share.

The same program gives other bits where its libraries pick other kernels: ATen, oneDNN, MKL and OpenBLAS each look at
the processor once, when they are loaded.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
import tempfile
from collections.abc import Callable, MutableMapping
from functools import cache
from typing import Any

from threadpoolctl import threadpool_info

VARIABLE = "NINO_KERNELS"
SHARED = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Haswell",
}
"""What ``NINO_KERNELS=shared`` sets: kernels that every x86 processor with AVX2 has, of either maker.

MKL has no other mode that promises the same bits on processors that Intel did not make.
"""


def choose_kernels(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set the variables of `SHARED` where ``NINO_KERNELS`` asks for it, before the libraries are loaded.

    Args:
        environment: of the process; variables that it has already are left as they are.

    Raises:
        ValueError: for another value than ``shared`` or ``native``, the default, which leaves the choice to each
            library.

    >>> environment = {"NINO_KERNELS": "shared", "ATEN_CPU_CAPABILITY": "default"}
    >>> choose_kernels(environment)
    >>> environment["ATEN_CPU_CAPABILITY"], environment["MKL_CBWR"]
    ('default', 'COMPATIBLE')
    """
    asked = environment.get(VARIABLE, "native")
    if asked not in ("native", "shared"):
        raise ValueError(f"`{VARIABLE}` (={asked!r}) must be native (each library's own choice) or shared (AVX2)")
    if asked == "shared":
        for name, value in SHARED.items():
            environment.setdefault(name, value)


def kernels() -> dict[str, Any]:
    """The kernels that this process computes with on the CPU.

    Returns:
        ``aten`` (torch's CPU capability: ``DEFAULT``, ``AVX2``, ``AVX512``), ``onednn`` (version and instruction set of
        torch's convolutions), ``mkl`` (version, processor and mode of torch's linear algebra), each None before torch
        is imported and in builds without it, and ``blas`` (those of NumPy's and SciPy's linear algebra, which decide
        the last digits of an eigenvector and which basis stands for equal eigenvalues; empty before these are
        imported).
    """
    torch = sys.modules.get("torch")
    return {
        "aten": torch.backends.cpu.get_cpu_capability() if torch is not None else None,
        "onednn": _onednn() if torch is not None else None,
        "mkl": _mkl() if torch is not None else None,
        "blas": _blas(),
    }


@cache
def _onednn() -> str | None:
    """What oneDNN says of itself before its first primitive; it says so once a process."""
    import torch

    if not torch.backends.mkldnn.is_available():
        return None

    def work() -> None:
        with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
            torch.zeros(1).to_mkldnn().relu()

    said = _printed_by(work)
    version, isa = re.search(r"info,(oneDNN v\S+)", said), re.search(r"info,cpu,isa:(.+)", said)
    return f"{version[1]}, {isa[1].strip()}" if version and isa else None


@cache
def _mkl() -> str | None:
    """What MKL says of itself and of the mode of a product of two matrices."""
    import torch

    if not torch.backends.mkl.is_available():
        return None

    def work() -> None:
        with torch.backends.mkl.verbose(torch.backends.mkl.VERBOSE_ON):
            torch.ones(8, 8) @ torch.ones(8, 8)

    said = _printed_by(work)
    name, mode = re.search(r"MKL_VERBOSE (.*?Intel.*?processors)", said), re.search(r"CNR:\S+", said)
    return f"{name[1]}, {mode[0]}" if name and mode else None


def _blas() -> list[str]:
    """Kind and kernels alone: versions are the packages', and differ with what has been imported so far."""
    libraries = [library for library in threadpool_info() if library["user_api"] == "blas"]
    return sorted(
        {" ".join(str(each[name]) for name in ("internal_api", "architecture") if name in each) for each in libraries}
    )


def _printed_by(work: Callable[[], None]) -> str:
    """What C code prints to the standard output meanwhile: these libraries tell their kernels in no other way.

    Empty where there is no standard output to borrow.
    """
    library = ctypes.CDLL(None)
    try:
        stdout = os.dup(1)
    except OSError:
        return ""
    try:
        with tempfile.TemporaryFile() as file:
            library.fflush(None)
            os.dup2(file.fileno(), 1)
            try:
                work()
                library.fflush(None)
            finally:
                os.dup2(stdout, 1)
            file.seek(0)
            return file.read().decode(errors="replace")
    finally:
        os.close(stdout)
