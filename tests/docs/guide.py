"""A guide of ``docs/``, taken apart: the files that it shows under a title, and the commands that it gives."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from typer.testing import CliRunner

from nino.cli.app import app

ROOT = Path(__file__).parents[2]


def read(name: str) -> str:
    """The text of a page."""
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def write_files(text: str, folder: Path) -> None:
    """Write the files that a text shows, each under its title."""
    for name, content in re.findall(r"```\w+ title=\"(\S+)\"\n(.*?)```", text, re.DOTALL):
        (folder / name).write_text(content, encoding="utf-8")


def lay_out(text: str, folder: Path) -> None:
    """Write the files that a text shows beside the complete config."""
    write_files(text, folder)
    (folder / "config.yaml").write_text((ROOT / "config.yaml").read_text(encoding="utf-8"), encoding="utf-8")


def commands(text: str) -> list[list[str]]:
    """The commands of a text, in words."""
    return [
        shlex.split(line) for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()
    ]


def nino(*arguments: str) -> str:
    """What a command that succeeds prints."""
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, (arguments, result.output, result.exception)
    return result.output
