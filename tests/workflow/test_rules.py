"""The shape of the workflow's own files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from nino.workflow import WORKFLOW
from tests.workflow import preloaded
from tests.workflow.driver import ENVIRONMENT, ROOT

RULES = sorted((ROOT / "nino" / "workflow" / "rules").glob("*.smk"))


def rules() -> list[tuple[str, str]]:
    """Name and body of every rule of the stages."""
    found = []
    for path in RULES:
        for name, body in re.findall(r"^rule (\w+):\n((?:    .*\n|\n)+)", path.read_text() + "\n", re.MULTILINE):
            found.append((name, body))
    return found


def test_every_stage_has_rules() -> None:
    assert {path.stem for path in RULES} == {"data", "trajectories", "metatrain", "evaluate", "report", "studies"}
    assert {name for name, _ in rules()} >= {"data", "collect", "join", "datasheet", "metatrain", "evaluate", "tables"}


@pytest.mark.parametrize(("name", "body"), [pytest.param(*rule, id=rule[0]) for rule in rules()])
def test_a_rule_calls_one_command_and_logs(name: str, body: str) -> None:
    shell = body.partition("shell:")[2]
    commands = re.findall(r"\bnino [a-z0-9]+ ", shell)
    assert len(commands) == 1, "a rule calls one nino command"
    assert not re.search(r"^    (run|script|notebook|wrapper):", body, re.MULTILINE)
    for needed in ("log:", "message:", "resources:", "mem_mb=", "runtime=", "conda:"):
        assert needed in body, f"{name}: no {needed}"
    assert "{log:q}" in shell


def test_the_last_retry_finds_that_all_attempts_were_killed() -> None:
    profile = yaml.safe_load((ROOT / "profiles" / "default" / "config.yaml").read_text())
    text = (ROOT / "nino" / "workflow" / "rules" / "evaluate.smk").read_text()
    attempts = re.findall(r"^ +attempts=(\d+),$", text, re.MULTILINE)  # of one seed, and of several
    assert list(map(int, attempts)) == [profile["retries"]] * 2


def test_every_file_of_a_run_is_an_output() -> None:
    rules = (ROOT / "nino" / "workflow" / "rules" / "evaluate.smk").read_text()
    assert rules.count("RUN_FILES") == 2, "of one seed, and of several"
    assert "from nino.evaluate.run_folder import FILES as RUN_FILES" in Path(WORKFLOW).read_text()


@pytest.mark.xdist_group("workflow")
def test_lint_is_clean() -> None:
    code, said = preloaded.call("snakemake", ["--lint"], ROOT, ENVIRONMENT)
    assert code == 0, said


def test_the_package_does_not_know_snakemake() -> None:
    for path in Path(ROOT, "nino").rglob("*.py"):
        assert not re.search(r"^\s*(import|from) snakemake", path.read_text(), re.MULTILINE), path
