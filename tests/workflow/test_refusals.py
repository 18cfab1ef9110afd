"""What stops before any job."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from nino.workflow import WORKFLOW
from tests.workflow.driver import ROOT, TINY, snakemake

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("evaluate: {shedule: {}}", "evaluate.shedule: unknown key; did you mean 'schedule'?"),
        ("evaluate: {tasks: [digits-3]}", "evaluate.tasks[0] (='digits-3'): no such task; did you mean 'digits-2'?"),
        ("tasks: {digits-2: {recipe: {steps: -40}}}", "tasks.digits-2.recipe.steps (=-40) must be at least 1"),
        ("evaluate: {seeds: [1000, 1000]}", "evaluate.seeds (=[1000, 1000]) holds 1000 twice"),
        ("evaluate: {seeds: [1]}", "evaluate.seeds[0] (=1) is a seed of trajectories.digits-2 (0 to 2)"),
    ],
)
def test_a_wrong_config_stops_before_any_job(tmp_path: Path, text: str, says: str) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(text)
    ended = snakemake(tmp_path, "--cores", 1, overlays=(TINY, overlay))
    assert ended.code != 0 and says in ended.text and "Traceback" not in ended.text
    assert not (tmp_path / "results").exists()


def test_a_disk_that_is_too_small_stops_before_any_job(tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.yaml"
    large = "state_every: 1, steps: 1000000000, models: 3000, models_per_shard: 2000, first_seed: 5000"
    overlay.write_text(f"trajectories: {{digits-2: {{{large}}}}}")
    planned = snakemake(tmp_path, "--cores", 1, "--dry-run", overlays=(TINY, overlay))
    assert planned.code == 0 and planned.jobs["collect"] == 2
    ended = snakemake(tmp_path, "--cores", 1, overlays=(TINY, overlay))
    assert ended.code != 0 and "Traceback" not in ended.text
    assert "the disk is too small for this run:" in ended.text and "trajectories of digits-2 alone" in ended.text
    assert not (tmp_path / "results" / "tiny" / "data").exists()


def test_the_papers_benchmark_can_be_planned(tmp_path: Path) -> None:
    planned = snakemake(tmp_path, "--dry-run", "--quiet", "rules", "reason", overlays=())
    assert planned.code == 0, planned.text[-2000:]
    assert planned.jobs["evaluate"] == 950 and planned.jobs["collect"] == 124 and planned.jobs["metatrain"] == 2


def test_smoke_can_be_planned(tmp_path: Path) -> None:
    planned = snakemake(tmp_path, "--dry-run", overlays=(ROOT / "workflow" / "configs" / "smoke.yaml",))
    assert planned.code == 0 and planned.jobs["metatrain"] == 2 and planned.jobs["data"] == 4


def test_what_the_driver_imports_is_light() -> None:
    """Snakemake's own process stays alive for the whole run: what jobs import has no place in it."""
    imports = re.findall(r"^from nino\S* import (?:\([^)]*\)|.*)", Path(WORKFLOW).read_text(), re.MULTILINE)
    code = "\n".join(
        ["import sys", *imports, "print({'torch', 'transformers', 'pandas', 'pydantic_core'} & set(sys.modules))"]
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len(imports) > 3 and done.stdout.strip() == "set()"
