"""docs/tables.md: the commands that it names exist, and what it says of studies and files is so."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from typer.testing import CliRunner

from nino.cli.app import app
from nino.report.studies import study_names
from nino.specs.studies import study_files

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line) for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL) for line in block.splitlines()
]


def test_the_commands_exist() -> None:
    for program, name, *_ in COMMANDS:
        if program == "nino":
            assert CliRunner().invoke(app, [name, "--help"]).exit_code == 0, name


def test_the_targets_are_a_study_s_files() -> None:
    targets = [
        word for command in COMMANDS if command[0] == "snakemake" for word in command if word.startswith("results")
    ]
    made = [f"results/smoke/{file}" for name in study_names() for file in study_files(name)]
    assert targets and set(targets) <= set(made)


def test_the_files_that_it_links_are_there() -> None:
    links = re.findall(r"\]\((\.\./[^)]+)\)", GUIDE)
    assert links and all((ROOT / "docs" / link).exists() for link in links)
