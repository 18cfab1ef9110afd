"""Where a number comes from: versions, hardware, commit and the checksums of what was read.

Nothing here imports a package to ask for its version, so that `provenance()` costs milliseconds.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nino.files import sha256
from nino.kernels import kernels
from nino.version import __version__

PACKAGES = (
    "torch",
    "torch-geometric",
    "numpy",
    "scipy",
    "safetensors",
    "h5py",
    "pandas",
    "matplotlib",
    "scikit-learn",
    "torchvision",
    "timm",
    "transformers",
    "datasets",
    "snakemake",
)


def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that can change a number.

    Returns:
        Name -> version; a package that is not installed is left out. That of torch names its build (``2.13.0+cpu``,
        ``2.13.0+cu130``), as two builds of one version do not give the same bits.

    >>> versions()["python"].count(".")
    2
    """
    installed = {"python": platform.python_version(), "nino": __version__}
    for package in PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    if "torch" in installed:
        installed["torch"] = _torch_build() or installed["torch"]
    return installed


def hardware() -> dict[str, Any]:
    """What this process runs on.

    Returns:
        ``system`` and ``machine`` (strings), ``cpu`` (model name), ``cores`` (those this process may use),
        ``threads`` (torch's, None before torch is imported), ``aten``, ``onednn``, ``mkl`` and ``blas`` (kernels, see
        `nino.kernels.kernels`), ``memory_bytes`` (of the machine, None where the system does not say) and ``gpus``
        (model names, empty without one).
    """
    torch = sys.modules.get("torch")
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads() if torch is not None else None,
        **kernels(),
        "memory_bytes": _memory_bytes(),
        "gpus": _gpu_models(),
    }


def git_commit(folder: Path | None = None) -> dict[str, Any] | None:
    """The commit that the code was run from.

    Args:
        folder: a folder of a checkout; default this package's own.

    Returns:
        ``{"commit": 40 hex digits, "dirty": bool}``, dirty where a tracked file outside ``results/`` differs from the
        commit; None where ``folder`` holds no file that a git repository tracks (an installed package), where there is
        no commit yet or no git.
    """
    folder = Path(__file__).parent if folder is None else folder
    if not _git(folder, "ls-files", "."):  # an environment inside somebody else's checkout is not that checkout
        return None
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    # releases and the leaderboard change without any code: none follows from them
    status = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ":(top)", ":(top,exclude)results")
    if not commit or status is None:
        return None
    return {"commit": commit, "dirty": bool(status)}


def provenance(**inputs: Any) -> dict[str, Any]:
    """Everything needed to tell where a result comes from, ready for JSON.

    Args:
        inputs: what the result was made from, by name: a ``Path`` is recorded with its SHA-256, a spec as its plain
            mapping, anything else as it is.

    Returns:
        ``versions``, ``hardware``, ``git`` (None outside a checkout) and ``inputs``.

    Raises:
        FileNotFoundError: for a ``Path`` that does not exist.

    >>> sorted(provenance(seed=1000))
    ['git', 'hardware', 'inputs', 'versions']
    >>> provenance(seed=1000)["inputs"]
    {'seed': 1000}
    """
    return {
        "versions": versions(),
        "hardware": hardware(),
        "git": git_commit(),
        "inputs": {name: _described(value) for name, value in inputs.items()},
    }


def _torch_build() -> str | None:
    """The version that torch gives itself: its package's metadata leave the build out on the public index."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).with_name("version.py")
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    stated = re.search(r"^__version__ = ['\"]([^'\"]+)", text, re.MULTILINE)
    return stated[1] if stated else None


def _described(value: Any) -> Any:
    if isinstance(value, Path):
        return {"path": value.as_posix(), "sha256": sha256(value)}
    return value.to_dict() if hasattr(value, "to_dict") else value


def _git(folder: Path, *arguments: str) -> str | None:
    """A git command's output, None where it fails or git is missing."""
    # Taking git's optional lock for `status` would make a user's own git command fail now and then.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, env=environment
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux: what `platform` knows will do
    return platform.processor() or platform.machine()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _gpu_models() -> list[str]:
    """Model names as torch knows them where it is loaded, else as the driver lists them."""
    torch = sys.modules.get("torch")
    if torch is not None:
        from nino.device import accelerator_models

        return accelerator_models()
    listed = []
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        lines = file.read_text(encoding="utf-8").splitlines()
        listed += [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    return listed
