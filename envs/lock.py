"""Resolve the newest versions that pyproject.toml allows and pin them: `make lock`.

Writes requirements.lock (pip) beside this file and nino/workflow/envs/nino.yaml (conda) from one fresh environment, and
docs.lock from another: the documentation site is built without the packages that nino needs.
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
DOCS_HEADER = "# Every package of the extra `docs`, pinned, for `make docs`. Made by `make lock`; do not edit.\n"
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
LEFT_OUT = re.compile(r"(nino|pip|nvidia-.*|cuda-.*|triton)==")


def pins(frozen: str) -> list[str]:
    r"""The lines of ``pip freeze`` that belong in the lock, without local version labels.

    >>> pins("nino==0.1.0\ntorch==2.13.0+cpu\nnvidia-cublas==13.1\n-e /somewhere/nino\n# a comment\n")
    ['torch==2.13.0']
    """
    lines = [line.split("+")[0].strip() for line in frozen.splitlines()]
    return sorted((line for line in lines if "==" in line and not LEFT_OUT.match(line)), key=str.lower)


def docs_requirements(project: Path) -> list[str]:
    """What the extra ``docs`` asks for, without the project itself."""
    extras = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    return list(extras["docs"])


def resolve(wanted: list[str]) -> list[str]:
    """Install requirements into a fresh environment and say what came."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = str(Path(folder, "bin", "python"))
        subprocess.run([python, "-m", "pip", "install", "--upgrade", *wanted], check=True)
        frozen = subprocess.run([python, "-m", "pip", "freeze", "--all"], check=True, capture_output=True, text=True)
    return pins(frozen.stdout)


def main() -> None:
    """Resolve, and write the three files."""
    found = resolve(["setuptools", *HELD, f"{HERE.parent}[dev]"])
    docs = resolve(docs_requirements(HERE.parent))
    (HERE / "docs.lock").write_text(DOCS_HEADER + "\n".join(docs) + "\n", encoding="utf-8")
    (HERE / "requirements.lock").write_text(HEADER + "\n".join(found) + "\n", encoding="utf-8")
    listed = "\n".join(f"      - {pin}" for pin in found)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    RULES.write_text(CONDA.format(python=version, pins=listed), encoding="utf-8")


if __name__ == "__main__":
    main()
