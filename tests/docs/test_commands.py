"""Every Snakemake command in README.md, docs/ and the overlays, read by Snakemake's own parser.

``--configfile FILE TARGET`` is read as two config files: a target stands behind ``--``.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from snakemake.cli import parse_args

from nino.config.load import load
from nino.config.resolve import resolve
from nino.report.studies import study_names
from nino.specs import report as names
from nino.specs.studies import STUDIES, study_files
from tests.workflow.driver import snakemake

ROOT = Path(__file__).parents[2]
OVERLAYS = sorted((ROOT / "workflow" / "configs").rglob("*.yaml"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TABLES = {f"tables/{name}.md" for name in (*names.TABLES, *STUDIES)}
MADE = TABLES | {file for name in study_names() for file in study_files(name)}


def shown(path: Path) -> list[str]:
    """The Snakemake commands of a file: lines of a page's blocks, or of an overlay's heading."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    else:
        lines = [line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#")]
    return [line for line in lines if line.startswith("snakemake ")]


COMMANDS = [pytest.param(path, line, id=f"{path.name}: {line}") for path in PAGES + OVERLAYS for line in shown(path)]


@pytest.mark.parametrize(("path", "line"), COMMANDS)
def test_a_command_names_configs_that_are_there_and_targets_that_are_made(
    path: Path, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    _, asked = parse_args(shlex.split(line, comments=True)[1:])
    named = asked.configfile or []
    of_the_reader = re.findall(r'title="(\S+)"', path.read_text(encoding="utf-8"))
    configs = [file for file in named if file.name not in of_the_reader]
    assert [file for file in configs if not file.is_file()] == []
    if len(configs) < len(named):
        return  # the page's own test writes these files, and runs or resolves them
    experiment = resolve(load(configs))
    runs = {f"evaluate/{task}/{method}/seed={seed}/run.json" for task, method, seed in experiment.evaluations}
    for target in asked.targets:
        assert target.startswith(root := f"results/{experiment.run}/") and target.removeprefix(root) in MADE | runs


def test_every_overlay_of_a_study_names_its_own_table() -> None:
    for overlay in OVERLAYS:
        if overlay.parent.name != "studies":
            continue
        (line,) = shown(overlay)
        _, asked = parse_args(shlex.split(line)[1:])
        run = resolve(load([overlay]))
        assert [ROOT / file for file in asked.configfile] == [overlay]
        wanted = run.studies or [name for name in STUDIES if run.run.startswith(name)]
        assert asked.targets == [f"results/{run.run}/tables/{wanted[0]}.md"], overlay.name


@pytest.mark.workflow
@pytest.mark.xdist_group("workflow")
def test_snakemake_plans_a_study_s_command(tmp_path: Path) -> None:
    overlay = ROOT / "workflow" / "configs" / "studies" / "time.tiny.yaml"
    (line,) = shown(overlay)
    target = shlex.split(line)[-1]
    planned = snakemake(tmp_path, "--dry-run", "--", target, overlays=(overlay,))
    assert planned.code == 0 and planned.jobs["study_time"] == 1 and "tables" not in planned.jobs, planned.text
