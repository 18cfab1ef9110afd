"""Resolve the newest versions that pyproject.toml allows and pin them: `make lock`.

Writes requirements.lock (pip) beside this file and nino/workflow/envs/nino.yaml (conda) from one fresh environment, and
docs.lock and release.lock each from another: the documentation site and the files for the package index are made
without the packages that nino needs.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
RULES = HERE.parent / "nino" / "workflow" / "envs" / "nino.yaml"  # Snakemake's rules name it, so it travels with them
HEADER = """\
# Every package of `pip install -e .[dev]`, pinned. Made by `make lock`; do not edit.
#
# torch stands here without its build (no +cpu, no +cu...) and its CUDA packages are left out: where pip's index serves
# CUDA builds, torch itself asks for the very versions of them that it was built with; where it serves CPU builds,
# there are none.
"""
SEPARATE = {"docs": "docs", "release": "dist"}  # extra: the command of the Makefile that uses it
SEPARATE_HEADER = (
    "# Every package of the extra `{extra}`, pinned, for `make {command}`. Made by `make lock`; do not edit."
)
CONDA = """\
# The environment of the rules, for `snakemake --software-deployment-method conda`. Made by `make lock`; do not edit.
# Conda brings Python; the packages are those of requirements.lock, so that both kinds of environment hold the same
# versions. nino itself is added by nino.post-deploy.sh.
name: nino
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python ={python}
  - pip
  - pip:
{pins}
"""
# Held at the version that the committed results were made with: raise it together with them.
HELD = ("torch==2.13.0",)
LEFT_OUT = re.compile(r"(nino-nowcast|pip|nvidia-.*|cuda-.*|triton)==")


def pins(frozen: str) -> list[str]:
    r"""The lines of ``pip freeze`` that belong in the lock, without local version labels.

    >>> pins("nino-nowcast==0.1.0\ntorch==2.13.0+cpu\nnvidia-cublas==13.1\n-e /somewhere/nino\n# a comment\n")
    ['torch==2.13.0']
    """
    lines = [line.split("+")[0].strip() for line in frozen.splitlines()]
    return sorted((line for line in lines if "==" in line and not LEFT_OUT.match(line)), key=str.lower)


def requirements(project: Path, extra: str) -> list[str]:
    """What an extra asks for, without the project itself."""
    extras = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    return list(extras[extra])


def resolve(wanted: list[str]) -> list[str]:
    """Install requirements into a fresh environment and say what came."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = str(Path(folder, "bin", "python"))
        subprocess.run([python, "-m", "pip", "install", "--upgrade", *wanted], check=True)
        frozen = subprocess.run([python, "-m", "pip", "freeze", "--all"], check=True, capture_output=True, text=True)
    return pins(frozen.stdout)


def main() -> None:
    """Resolve, and write the files."""
    found = resolve(["setuptools", *HELD, f"{HERE.parent}[dev]"])
    for extra, command in SEPARATE.items():
        lines = [SEPARATE_HEADER.format(extra=extra, command=command), *resolve(requirements(HERE.parent, extra))]
        (HERE / f"{extra}.lock").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (HERE / "requirements.lock").write_text(HEADER + "\n".join(found) + "\n", encoding="utf-8")
    listed = "\n".join(f"      - {pin}" for pin in found)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    RULES.write_text(CONDA.format(python=version, pins=listed), encoding="utf-8")


if __name__ == "__main__":
    main()
