"""What the config says never becomes shell code: folders with spaces, quotes and `$()` in their names are folders."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.workflow.driver import ROOT, TINY, snakemake

RULES = sorted((ROOT / "workflow" / "rules").glob("*.smk"))
SHELL = re.compile(r"""^ +shell:\n((?:^ +["'].*\n)+)""", re.MULTILINE)
PLACEHOLDER = re.compile(r"(?<!\{)\{([^{}]+)\}(?!\})")


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_every_value_in_a_shell_command_is_quoted(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    commands = SHELL.findall(text)
    assert len(commands) == text.count("shell:") > 0
    placeholders = [name for command in commands for name in PLACEHOLDER.findall(command)]
    assert placeholders
    assert [name for name in placeholders if not name.endswith(":q")] == []


@pytest.mark.workflow
@pytest.mark.xdist_group("workflow")
def test_data_are_read_from_a_folder_of_any_name(tmp_path: Path) -> None:
    folder = tmp_path / 'it\'s $(touch hit); `touch hit` && touch hit #"q" größe'
    folder.mkdir()
    images = np.arange(200 * 28 * 28, dtype=np.uint8).reshape(200, 28, 28)
    labels = np.arange(200, dtype=np.uint8) % 10
    np.savez(folder / "fashion-mnist.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(
        f"data_dir: {json.dumps(str(folder))}\ntasks: {{digits-2: {{data: {{name: fashion-mnist, source: npz}}}}}}\n"
    )
    ended = snakemake(tmp_path, "--cores", 1, "--", "results/tiny/data/digits-2.json", overlays=(TINY, overlay))
    assert ended.code == 0, ended.text[-2000:]
    assert not list(tmp_path.rglob("hit"))
