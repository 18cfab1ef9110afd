"""What goes to the package index: its name, its files, and what works of it without extras."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_string
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import nino
from nino.extras import DISTRIBUTION, EXTRAS, advice

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FILES = ("nino", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "MANIFEST.in", "pyproject.toml")
# The name of another project on the index, where somebody is told to install it.
OTHER = re.compile(
    r"pip install[^\n`;&]*?[\s'\"]nino(?!-nowcast\b)(?=[\[\s'\"`=<>~]|$)|(?<![\w.-])nino\[[a-z,]+\]", re.MULTILINE
)
NEEDS = {
    ("plan",): "h5py",
    ("tables",): "pandas",
    ("data", "--task", "fm-16"): "torchvision",
    ("study", "table3"): "matplotlib",
    ("leaderboard",): "pandas",
}
HELP = (("-h",), ("--help",), ("step", "-h"), ("config", "-h"), ("--version",))
WORKS = (("config", "validate"), ("init", "lab"))
# One process for all commands; the packages that extras bring are not there.
BARE = f"""
import contextlib, io, json, sys
sys.modules.update(dict.fromkeys({sorted(set().union(*EXTRAS.values()) - {"pygments"})}))
from nino.cli import main
ended = []
for arguments in {[*HELP, *WORKS, *NEEDS]}:
    sys.argv = ["nino", *arguments]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main()
        except SystemExit as end:
            ended.append([list(arguments), end.code or 0, out.getvalue(), err.getvalue()])
print(json.dumps(ended))
"""
Ended = dict[tuple[str, ...], tuple[int, str, str]]


def tracked(*patterns: str) -> list[Path]:
    """The files that git knows of, or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("git does not know this folder")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """How commands end where no extra is installed: exit code, output, errors."""
    folder = tmp_path_factory.mktemp("bare")
    done = subprocess.run([sys.executable, "-c", BARE], capture_output=True, text=True, cwd=folder, check=True)
    assert (folder / "lab" / "Snakefile").is_file()
    return {tuple(arguments): (code, out, err) for arguments, code, out, err in json.loads(done.stdout)}


def test_one_name_everywhere() -> None:
    assert PROJECT["name"] == DISTRIBUTION
    assert OTHER.search("pip install 'nino[benchmark]'") and OTHER.search("pip install -U nino")
    assert not OTHER.search(f"pip install '{DISTRIBUTION}[benchmark]'; nino init lab")
    wrong = [
        f"{path.relative_to(ROOT)}: {found[0]}"
        for path in tracked(":!results", ":!benchmarks/results")
        if path != Path(__file__) and path.suffix in (".py", ".md", ".toml", ".yaml", ".yml", ".sh", ".smk", ".def", "")
        for found in OTHER.finditer(path.read_text(encoding="utf-8"))
    ]
    assert wrong == []


def test_the_version_stands_in_one_place() -> None:
    assert "version" in PROJECT["dynamic"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == nino.__version__


def test_extras_are_known_by_what_is_imported() -> None:
    names: dict[str, set[str]] = {}
    for imported, distributions in packages_distributions().items():
        for distribution in distributions:
            names.setdefault(canonicalize_name(distribution), set()).add(imported)
    for extra, packages in EXTRAS.items():
        required = [canonicalize_name(Requirement(line).name) for line in PROJECT["optional-dependencies"][extra]]
        assert len(required) == len(packages)
        for name in required:
            assert names[name] & {*packages}, name


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, made from the unpacked sdist as pip makes it, and the sdist."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    for path in tracked(*FILES):
        target = source / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    build = "from setuptools import build_meta; print(build_meta.build_{}({!r}))"
    for kind, where in (("sdist", source), ("wheel", folder / f"nino_nowcast-{nino.__version__}")):
        code = build.format(kind, str(folder))
        subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=where, check=True, capture_output=True)
        if kind == "sdist":
            with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
                archive.extractall(folder, filter="data")
    return folder


def test_wheel_and_sdist_hold_the_package_whole(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
        metadata = message_from_string(wheel.read(f"nino_nowcast-{nino.__version__}.dist-info/METADATA").decode())
        commands = wheel.read(f"nino_nowcast-{nino.__version__}.dist-info/entry_points.txt").decode()
        assert wheel.read("nino/workflow/config.yaml") == (ROOT / "config.yaml").read_bytes()
    assert held == {path.relative_to(ROOT).as_posix() for path in tracked("nino")}
    assert (metadata["Name"], metadata["Version"]) == (DISTRIBUTION, nino.__version__)
    assert metadata["Description-Content-Type"] == "text/markdown" and "# nino" in metadata.get_payload()
    assert {*PROJECT["optional-dependencies"]} == {*metadata.get_all("Provides-Extra")}
    assert "nino = nino.cli:main" in commands
    assert not list((built / f"nino_nowcast-{nino.__version__}").glob("tests/*")), "tests need the checkout around them"


def test_help_and_what_the_core_does_need_no_extra(bare: Ended) -> None:
    for arguments in HELP:
        code, out, _ = bare[arguments]
        assert code == 0 and (f"nino {nino.__version__}" in out or "Usage" in out)
    code, out, _ = bare["config", "validate"]
    assert code == 0 and out.startswith("paper:")
    assert f"pip install '{DISTRIBUTION}[benchmark]'" in bare["init", "lab"][1]


@pytest.mark.parametrize("arguments", NEEDS)
def test_a_command_that_needs_more_says_what_to_install(bare: Ended, arguments: tuple[str, ...]) -> None:
    code, _, said = bare[arguments]
    wanted = advice(ModuleNotFoundError("", name=NEEDS[arguments]))
    assert code == 1 and said.splitlines() == [f"nino: error: {wanted}"] and f"{DISTRIBUTION}[benchmark]" in wanted


def test_shells_can_complete() -> None:
    shown = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from nino.cli import main; sys.argv[0] = 'nino'; main()",
            "--show-completion",
            "bash",
        ],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
    )
    assert shown.returncode == 0 and "_NINO_COMPLETE" in shown.stdout, shown.stderr
