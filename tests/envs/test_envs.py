"""The lock, the conda environment and pyproject.toml name the same versions."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
ENVS = ROOT / "envs"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

spec = importlib.util.spec_from_file_location("lock", ENVS / "lock.py")
assert spec is not None and spec.loader is not None
lock = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lock)


def pinned(lines: list[str]) -> dict[str, Version]:
    """Name -> version; every line must pin one package."""
    found = {}
    for line in lines:
        name, version = re.fullmatch(r"([A-Za-z0-9._-]+)==([^\s;]+)", line.strip()).groups()  # type: ignore[union-attr]
        assert canonicalize_name(name) not in found, name
        found[canonicalize_name(name)] = Version(version)
    return found


def locked(name: str = "requirements.lock") -> dict[str, Version]:
    text = (ENVS / name).read_text()
    return pinned([line for line in text.splitlines() if line and not line.startswith("#")])


def wanted(extra: str | None) -> list[Requirement]:
    """Requirements of the project, those of an extra with the extras that it names."""
    lines = PROJECT["dependencies"] if extra is None else PROJECT["optional-dependencies"][extra]
    found = []
    for requirement in map(Requirement, lines):
        if requirement.name == PROJECT["name"]:
            found += [r for inner in sorted(requirement.extras) for r in wanted(inner)]
        else:
            found.append(requirement)
    return found


def test_the_lock_satisfies_every_requirement() -> None:
    versions = locked()
    extras = [extra for extra in PROJECT["optional-dependencies"] if extra not in lock.SEPARATE]
    for requirement in wanted(None) + [r for extra in extras for r in wanted(extra)]:
        assert versions[canonicalize_name(requirement.name)] in requirement.specifier, str(requirement)


@pytest.mark.parametrize("extra", lock.SEPARATE)
def test_site_and_releases_have_locks_of_their_own(extra: str) -> None:
    versions = locked(f"{extra}.lock")
    for requirement in map(Requirement, lock.requirements(ROOT, extra)):
        assert versions[canonicalize_name(requirement.name)] in requirement.specifier, str(requirement)
    assert "torch" not in versions, "neither imports the modules"
    assert not {"sphinx", "twine"} & {*locked()}, "make smoke installs nothing that it does not need"


def test_the_lock_fits_cpu_and_gpu_machines() -> None:
    versions = locked()
    assert versions["torch"].local is None
    assert not [name for name in versions if name.startswith(("nvidia-", "cuda-", "triton"))]


def test_the_lock_holds_what_builds_the_package() -> None:
    assert locked()["setuptools"] >= Version("77"), "envs/install.sh installs nino without build isolation"


def test_conda_holds_the_same_versions() -> None:
    environment = yaml.safe_load(lock.RULES.read_text())
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert pinned(pip) == locked()
    python = next(entry for entry in environment["dependencies"] if str(entry).startswith("python "))
    assert Version(python.partition("=")[2]) >= Version(PROJECT["requires-python"].removeprefix(">="))


def test_the_library_alone_pulls_no_workflow() -> None:
    names = {canonicalize_name(r.name) for r in wanted(None)}
    assert not names & {"snakemake", "h5py", "transformers", "torchvision", "pandas", "matplotlib"}


def test_pins_are_read_from_pip_freeze() -> None:
    frozen = (
        "nino-nowcast==0.1.0\ntorch==2.13.0+any\nnvidia-cublas==13.1\n-e /somewhere\n# editable\n"
        "Zlib==1\nabc==2\npip==26\n"
    )
    assert lock.pins(frozen) == ["abc==2", "torch==2.13.0", "Zlib==1"]


def test_held_versions_are_locked() -> None:
    for pin in lock.HELD:
        assert pin in (ENVS / "requirements.lock").read_text().splitlines()
