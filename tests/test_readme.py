"""README.md: what it shows is what the committed results say."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import nino
from nino.cli.app import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)(?: title=\"(\S+)\")?\n(.*?)```", README, re.DOTALL)
SMOKE = "snakemake --cores 2 --configfile workflow/configs/smoke.yaml"
RUN_BY = {  # command -> the test that runs it, some in small: on tests/workflow/tiny.yaml in place of smoke.yaml
    SMOKE: "workflow/test_run.py::test_everything_asked_for_is_there",
    f"{SMOKE} --report report.html": "workflow/test_run.py::test_the_report_holds_tables_and_figures",
    f"{SMOKE} -- results/smoke/tables/table2.md": "workflow/test_run.py::test_one_table_can_be_asked_for",
    "snakemake --profile slurm": "slurm/test_slurm.py::test_everything_is_done",
}


def rows(text: str) -> list[tuple[str, ...]]:
    """The cells of every table row of a Markdown text."""
    return [tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in text.splitlines() if line.startswith("|")]


def tables(text: str) -> list[list[tuple[str, ...]]]:
    """The tables of a Markdown text, each as its heading and its rows."""
    every = [rows(block) for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]
    return [[heading, *body] for heading, _, *body in every]


def released(run: str, heading: tuple[str, ...], name: str = "table2") -> set[tuple[str, ...]]:
    """The rows of a released table, those of its columns that a heading names."""
    [[titles, *body]] = tables((ROOT / "results" / run / "tables" / f"{name}.md").read_text(encoding="utf-8"))
    assert set(heading) <= set(titles)
    return {tuple(row[titles.index(title)] for title in heading) for row in body}


@pytest.mark.parametrize(
    ("after", "run", "name", "count"),
    [
        ("[results/cpu-v2](results/cpu-v2/tables/table2.md)", "cpu-v2", "table2", 4),
        ("results/smoke-v2/tables/table2.md)", "smoke-v2", "table2", 14),
        ("[results/cpu-v2/tables/table2.md]", "cpu-v2", "table2", 12),
        ("[results/cpu-32-v2/tables/table2.md]", "cpu-32-v2", "table2", 4),
        ("[results/language-cpu-v2/tables/table2.md]", "language-cpu-v2", "table2", 3),
        ("[table](results/acceptance-v2/tables/acceptance.md)", "acceptance-v2", "acceptance", 3),
    ],
)
def test_the_tables_shown_are_those_in_the_results(after: str, run: str, name: str, count: int) -> None:
    heading, *body = tables(README[README.index(after) :])[0]
    assert len(body) == count
    assert set(body) <= released(run, heading, name)


def test_every_file_it_names_is_there() -> None:
    links = [link.replace("\\", "") for link in re.findall(r"\]\(([^)#]+)[)#]", README) if "://" not in link]
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_first_screen_has_what_matters() -> None:
    """What it is, one table, one picture, how to use it and two commands come before the first heading."""
    screen = README.split("\n## ")[0]
    assert len(screen.splitlines()) <= 45
    assert len(tables(screen)) == 1 and screen.count("![") == 1
    assert [kind for kind, *_ in BLOCKS[:2]] == ["python", "sh"] and screen.count("```") == 4
    assert len(BLOCKS[1][2].splitlines()) == 2


def test_every_command_is_run_by_a_test_or_says_why_not() -> None:
    for line in [line for kind, _, text in BLOCKS if kind == "sh" for line in text.splitlines()]:
        command = line.partition(" #")[0].strip()
        if command not in RUN_BY:
            both = README.partition(line)[2][:120]  # a reason for two commands stands beside the second
            assert re.search(r"no test runs it: \w+", line) or re.search(r"no test runs these two: \S+", line + both), (
                line
            )
            continue
        file, _, name = RUN_BY[command].partition("::")
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), command


def test_every_command_within_a_sentence_is_there() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    seen = 0
    for text in re.findall(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)", README):
        match shlex.split(text.replace("\n", " ")):
            case ["make", target]:
                assert target in targets, text
            case ["python", "-m", module]:
                assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file(), text
            case ["python", script, *_]:  # run by tests/docs/test_examples.py
                assert (ROOT / script).is_file(), text
            case ["nino", *words] if words[0] != "--help":
                group = words[:2] if words[0] == "config" else words[:1]
                assert CliRunner().invoke(app, [*group, "--help"]).exit_code == 0, text
            case _:
                continue
        seen += 1
    assert seen > 12


@pytest.mark.shared
def test_the_code_runs_in_a_training(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks in their order, ten times as short, with a model and data for those that the reader has."""
    monkeypatch.setenv("NINO_CACHE", str(shared / "pretrained"))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    batches = iter(lambda: (torch.randn(4, 6), torch.randint(3, (4,))), None)
    names: dict[str, Any] = {"torch": torch, "F": nn.functional, "model": model, "batches": batches}
    first, loop, _ = [text for kind, _, text in BLOCKS if kind == "python"]
    exec(first, names)
    assert isinstance(names["opt"], nino.NiNo)
    exec(loop.replace("1000", "100").replace("10_000", "1_000"), names)
    assert names["opt"].counts == {"kept": 10, "put back": 0, "left out": 0}


def test_a_file_of_its_own_is_a_nowcaster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    [(name, text)] = [(name, text) for kind, name, text in BLOCKS if kind == "python" and name]
    Path(name).write_text(text, encoding="utf-8")
    ended = CliRunner().invoke(app, ["check", "damped.py:Damped"])
    assert ended.exit_code == 0 and "keeps the contract" in ended.output


def test_the_images_are_fetched_where_the_overlay_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nino.config.load import load
    from nino.config.resolve import resolve

    [(name, text)] = [(name, text) for kind, name, text in BLOCKS if kind == "yaml" and name]
    (tmp_path / name).write_text(text, encoding="utf-8")
    run = resolve(load([ROOT / "workflow" / "configs" / "cpu.yaml", tmp_path / name], ROOT / "config.yaml"))
    assert {run.tasks[task].data.source for task in run.used} == {"torchvision"}
