"""What a record says is worked out again from the logs, of runs of earlier versions, too: these hold no checksums."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from nino.evaluate.run import evaluate_run
from nino.evaluate.run_folder import JUMPS, LOG, LOSSES, NOWCASTS, CorruptRunError, read_run
from nino.specs import MethodSpec, ScheduleSpec, TaskSpec
from nino.tasks import Task

Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def finished(digits: Task, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run as an earlier version left it, whose target is checked hardest images first: validated every 10 steps."""
    folder = tmp_path_factory.mktemp("run")
    schedule = ScheduleSpec(period=20, context=5, max_horizon=3)
    result = evaluate_run(Task(checked(digits.spec), digits.data), MethodSpec("line", "linear"), 1000, schedule, folder)
    del result["files"]
    (folder / "run.json").write_text(json.dumps(result | {"format": 1}))
    return folder


def checked(task: TaskSpec) -> TaskSpec:
    evaluation = replace(task.evaluation, hardest_first=True)
    return replace(task, target=replace(task.target, value=17.0), evaluation=evaluation)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def edit(path: Path, change: Callable[[Rows], Rows | None]) -> None:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(change(rows) or rows)


def read(run: Path, task: TaskSpec) -> None:
    read_run(run, checked(task), "line", 1000)


def test_what_a_run_wrote_agrees(run: Path, digits: Task) -> None:
    read(run, digits.spec)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("best", 99.9),
        ("final", 99.9),
        ("seconds_at_target", 1e-3),
        ("train_seconds", 2.0),
        ("evaluation_seconds", 1e-3),
        ("nowcast_seconds", 9.0),
        ("step_at_target", 1),
        ("step_at_target_running_mean", 7),
        ("steps", 41),
        ("target", 10.0),
        ("metric", "perplexity"),
        ("split", "validation"),
        ("higher_is_better", False),
    ],
)
def test_what_follows_from_the_log_is_held_to_it(run: Path, digits: Task, name: str, value: object) -> None:
    result = json.loads((run / "run.json").read_text())
    assert result[name] != value
    (run / "run.json").write_text(json.dumps(result | {name: value}))
    with pytest.raises(CorruptRunError, match=rf"log\.csv: .*(run\.json says {value!r}|is a run|step 40, of|no eval)"):
        read(run, digits.spec)


def without_step(step: int) -> Callable[[Rows], Rows]:
    return lambda rows: [row for row in rows if row["step"] != str(step)]


def forged_hit(rows: Rows) -> Rows:
    """A row that meets the target at a step that no row stands for, before the first hit."""
    return [{**rows[0], "step": "3", "validation": "", "test": "17.5"}, *rows]


def more_seconds(rows: Rows) -> None:
    rows[0]["train_seconds"] = "1000"


def other_horizon(rows: Rows) -> None:
    rows[0]["k"] = "2"


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        (LOG, without_step(20), "no evaluation at step 20, of one every 10 steps: rows are missing"),
        (
            LOG,
            lambda rows: [{**rows[0], "step": "7"}, *rows[1:]],
            "no evaluation at step 10|validation metric at step 7",
        ),
        (LOG, more_seconds, "train_seconds that decrease"),
        (LOG, forged_hit, "after the first hit at step 3"),
        (NOWCASTS, lambda rows: rows[:1], "1 nowcasts, of the 2 that the schedule asks for"),
        (NOWCASTS, lambda rows: [{**rows[0], "step": "19"}, rows[1]], "2 nowcasts, of the 2 .* or others"),
        (NOWCASTS, other_horizon, "the nowcast at step 20 has another k than its schedule's, 3"),
        (NOWCASTS, lambda rows: [{**row, "seconds": "60"} for row in rows], "120.000000 seconds of nowcasts, run.json"),
        (JUMPS, lambda rows: rows[:-1], "more rows of one nowcast than of another"),
        (JUMPS, lambda rows: [row for row in rows if row["step"] == "20"], "has not the nowcasts that were accepted"),
        (LOSSES, lambda rows: [*rows, {**rows[0], "step": "30"}], "near step 30, which was no nowcast"),
    ],
)
def test_files_that_contradict_each_other_are_refused(
    run: Path, digits: Task, file: str, change: Callable[[Rows], Rows | None], says: str
) -> None:
    edit(run / file, change)
    with pytest.raises(CorruptRunError, match=says):
        read(run, digits.spec)


def test_a_forged_first_hit_that_the_record_repeats_leaves_the_rows_after_it(run: Path, digits: Task) -> None:
    """Between validations no run is measured after its first hit; a forger who forgets it leaves the old rows there."""
    result = json.loads((run / "run.json").read_text())
    hit = result["step_at_target"]
    assert hit is not None and hit % 10 and hit > 3
    edit(run / LOG, lambda rows: [{**rows[0], "step": "3", "validation": "", "test": "17.5"}, *rows])
    seconds = float((run / LOG).read_text().splitlines()[1].split(",")[4])
    forged = result | {"step_at_target": 3, "seconds_at_target": seconds}
    (run / "run.json").write_text(json.dumps(forged))
    with pytest.raises(CorruptRunError, match="an evaluation at step .*, though after the first hit at step 3 none"):
        read(run, digits.spec)


def test_an_entry_of_another_kind_is_named(run: Path, digits: Task) -> None:
    result = json.loads((run / "run.json").read_text())
    result["provenance"]["inputs"]["schedule"] = {"period": "often"}
    (run / "run.json").write_text(json.dumps(result))
    with pytest.raises(CorruptRunError, match=r"run\.json: .*period"):
        read(run, digits.spec)
