"""What pip knows this project as, and which of its extras brings a package along."""

from __future__ import annotations

DISTRIBUTION = "nino-nowcast"
"""The name on the package index; what it installs is imported as ``nino``."""

EXTRAS = {
    "benchmark": (
        *("h5py", "matplotlib", "pandas", "PIL", "pyarrow", "sklearn", "tabulate", "torchvision"),
        *("transformers", "snakemake", "psutil", "pygments", "snakemake_executor_plugin_slurm"),
    ),
    "hub": ("datasets",),
}
"""By extra, the packages that it adds to the core, by the names under which they are imported."""


def advice(error: ModuleNotFoundError) -> str:
    """What to install, in one line.

    Args:
        error: of an import, anywhere.

    >>> advice(ModuleNotFoundError("No module named 'h5py'", name="h5py"))
    "this needs h5py, which is not installed: pip install 'nino-nowcast[benchmark]'"
    >>> advice(ModuleNotFoundError("No module named 'mine'", name="mine"))
    "No module named 'mine': install it into the environment of this command"
    """
    package = (error.name or "").partition(".")[0]
    for extra, packages in EXTRAS.items():
        if package in packages:
            return f"this needs {package}, which is not installed: pip install '{DISTRIBUTION}[{extra}]'"
    return f"{error}: install it into the environment of this command"
