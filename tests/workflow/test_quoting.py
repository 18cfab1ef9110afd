"""What the config says never becomes shell code: folders with spaces, quotes and `$()` in their names are folders."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from nino.nowcasters import WNNPlus, save_nowcaster
from tests.workflow.driver import ROOT, TINY, snakemake

RULES = sorted((ROOT / "nino" / "workflow" / "rules").glob("*.smk"))
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


ODD = 'it\'s $(touch hit); `touch hit` && touch hit #"q" größe ~ %b'
OWN = """
from nino.nowcasters import Pointwise

class Still(Pointwise):
    context = None

    def update(self, states, k, parameter):
        return 0 * states[:, -1]
"""


@pytest.mark.workflow
@pytest.mark.xdist_group("workflow")
def test_files_and_folders_of_any_name_pass_through_real_jobs(tmp_path: Path) -> None:
    """Data, text, a tokenizer, weights, a class of one's own and the data folder, from the config to the runs' end."""
    folder = tmp_path / ODD
    folder.mkdir()
    images = np.arange(200 * 28 * 28, dtype=np.uint8).reshape(200, 28, 28)
    labels = np.arange(200, dtype=np.uint8) % 10
    np.savez(folder / "images.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    save_nowcaster(WNNPlus(hidden=4), folder / "mine.safetensors")
    (folder / "own.py").write_text(OWN)
    for split in ("train", "validation", "test"):
        (folder / f"{split} {ODD}.txt").write_text("a bat at a tab\n" * 40)
    (folder / "letters").mkdir()
    letters = {letter: number for number, letter in enumerate("abtĠĊ")}  # as GPT-2 writes a space and a new line
    (folder / "letters" / "vocab.json").write_text(json.dumps({**letters, "<|endoftext|>": len(letters)}))
    (folder / "letters" / "merges.txt").write_text("#version: 0.2\n")
    files = {split: f"{split} {ODD}.txt" for split in ("train", "validation", "test")}
    words = {
        "data": {
            "name": "text",
            "source": "text",
            "path": f"~/{ODD}",
            "options": {"block": 8, "tokenizer": f"{folder}/letters", "files": files},
        },
        "model": {"name": "gpt2", "options": {"layers": 1, "width": 8, "heads": 2}},
        "recipe": {"optimizer": "adamw", "lr": 1.0e-3, "batch_size": 4, "steps": 40},
        "target": {"metric": "perplexity", "value": 2.0},
        "evaluation": {"test_every": 10, "validation_every": 20},
    }
    values = {
        "data_dir": f"~/{ODD}",
        "tasks": {
            "words": words,
            "digits-2": {"data": {"name": "fashion-mnist", "source": "npz", "path": f"{folder}/images.npz"}},
        },
        "trajectories": {"digits-2": {"models": 2}},
        "evaluate": {
            "seeds": [1000],
            "tasks": ["digits-2", "words"],
            "rows": ["base", "mine", "own"],
            "methods": {
                "mine": {"nowcaster": "checkpoint", "path": f"~/{ODD}/mine.safetensors"},
                "own": {"nowcaster": f"~/{ODD}/own.py:Still"},
            },
        },
    }
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    asked = [f"results/tiny/evaluate/digits-2/{row}/seed=1000/run.json" for row in ("base", "mine", "own")]
    text = "results/tiny/data/words.json"
    ended = snakemake(
        tmp_path, "--cores", 1, "--", *asked, text, overlays=(TINY, overlay), environment={"HOME": str(tmp_path)}
    )
    assert ended.code == 0, ended.text[-3000:]
    assert {json.loads((tmp_path / path).read_text())["status"] for path in asked} == {"done"}
    assert json.loads((tmp_path / text).read_text())["data"]["examples"]["train"] == 40 * 15 // 8
    assert not list(tmp_path.rglob("hit")) and not list(tmp_path.glob("~*"))
