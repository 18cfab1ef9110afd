from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

STAGES = (
    "data",
    "collect",
    "join",
    "datasheet",
    "metatrain",
    "card",
    "evaluate",
    "tables",
    "figures",
    "manifest",
    "verify",
    "release",
)
EVALUATE = ("evaluate", "--config", "tiny.yaml")
FIT = ("metatrain", "--config", "tiny.yaml")


def test_help_lists_every_stage(nino) -> None:
    ended = nino("--help")
    assert ended.code == 0
    listed = [line.split()[0] for line in ended.out.split("Commands:")[1].splitlines() if line.strip()]
    assert set(STAGES) <= set(listed)


@pytest.mark.parametrize("command", [*STAGES, "graph", "config"])
def test_every_command_explains_itself(nino, command: str) -> None:
    ended = nino(command, "--help")
    assert ended.code == 0 and f"nino {command}" in ended.out


def test_help_waits_for_nothing_heavy() -> None:
    heavy = (
        "import sys, nino.cli; print(sorted({'torch', 'pandas', 'pydantic', 'jsonschema', 'h5py'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            [*EVALUATE, "--task", "digits-3", "--method", "base", "--seed", 1],
            "--task (=digits-3)",
        ),
        ([*EVALUATE, "--task", "digits-3", "--method", "base", "--seed", 1], "'digits-2'?"),
        (
            [*EVALUATE, "--task", "digits-2", "--method", "nin", "--seed", 1],
            "'nino'? Allowed",
        ),
        ([*EVALUATE, "--task", "digits-2", "--seed", 1], "--method: missing; allowed: base"),
        ([*FIT, "--nowcaster", "nono"], "--nowcaster (=nono): not in the config"),
        (["collect", "--config", "tiny.yaml", "--task", "fm-32", "--shard", 0], "--task (=fm-32): not in the config"),
        (["data", "spec.json", "--config", "tiny.yaml"], "give one of them"),
        (["data", "spec.json", "--task", "digits-2"], "the spec file says it already"),
        (["data", "spec.json"], "spec.json: no such spec file"),
        (["config", "validate", "--config", "gone.yaml"], "gone.yaml: no such config file"),
        (["join", "a.h5", "--config", "tiny.yaml"], "SHARDS go with --out"),
        (
            ["metatrain", "--config", "tiny.yaml", "--nowcaster", "nino", "--trajectories", "a", "--trajectories", "b"],
            "give 1",
        ),
    ],
)
def test_wrong_names_end_in_one_line(nino, workplace: Path, arguments: list[object], says: str) -> None:
    ended = nino(*arguments)
    assert ended.code == 2
    assert says in ended.err and ended.err.startswith("nino: error: ") and "Traceback" not in ended.err


def test_wrong_config_names_its_keys(nino, workplace: Path) -> None:
    (workplace / "bad.yaml").write_text("evaluate: {seeds: [7, 7], shedule: {}}")
    ended = nino("collect", "--config", "tiny.yaml", "--config", "bad.yaml", "--task", "digits-2", "--shard", 0)
    assert ended.code == 2
    assert ended.err.splitlines() == [
        "nino: error: evaluate.shedule: unknown key; did you mean 'schedule'? "
        "Allowed: members_per_job, methods, methods_per_job, rows, schedule, seeds, seeds_per_job, tasks",
        "nino: error: evaluate.seeds (=[7, 7]) holds 7 twice; each may stand there once",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        [*EVALUATE, "--task", "digits-2", "--method", "base", "--seed", -1],
        ["evaluate", "--config", "tiny.yaml", "--sed", 1],
        ["collect", "--shard", "one"],
    ],
)
def test_wrong_options_are_named(nino, workplace: Path, arguments: list[object]) -> None:
    ended = nino(*arguments)
    assert ended.code == 2 and "Error" in ended.err and "Traceback" not in ended.err


def test_failed_work_ends_in_one_line(nino, workplace: Path) -> None:
    (workplace / "a.h5").write_text("no HDF5")
    ended = nino("datasheet", "a.h5")
    assert ended.code == 1
    assert "a.h5" in ended.err and ended.err.startswith("nino: error: ") and "Traceback" not in ended.err


def test_debug_shows_where(monkeypatch: pytest.MonkeyPatch, workplace: Path) -> None:
    command = [sys.executable, "-m", "nino", "--debug", "datasheet", "gone.h5"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=workplace)
    assert ended.returncode == 1 and "Traceback" in ended.stderr and "gone.h5" in ended.stderr


def test_the_schema_of_a_config_is_printed_for_editors(nino) -> None:
    assert json.loads(nino("config", "schema").out)["properties"]["evaluate"]
    assert "max_minutes" in json.loads(nino("config", "schema", "--site").out)["properties"]


def test_config_is_shown_explained_and_validated(nino, workplace: Path) -> None:
    assert nino("config", "show", "--config", "tiny.yaml").out.startswith("run: tiny\n")
    explained = nino("config", "keys", "evaluate.schedule").out
    assert "evaluate.schedule.period\n    Between nowcasts, a multiple of context [steps; default 1000]" in explained
    assert "tasks.NAME.model.options.channels" in nino("config", "keys", "tasks").out
    ended = nino("config", "validate", "--config", "tiny.yaml")
    assert ended.code == 0 and "tiny: 2 shards of trajectories (digits-2), 1 nowcasters to fit (nino)" in ended.out


def test_threads_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from nino.cli import app

    monkeypatch.setenv("OMP_NUM_THREADS", "9")
    monkeypatch.setattr(app, "app", lambda: None)
    monkeypatch.setattr(app, "keep_freed_memory", lambda: None)
    monkeypatch.setenv("NINO_THREADS", "3")
    app.main()
    assert os.environ["OMP_NUM_THREADS"] == "9"  # a rule's share
    monkeypatch.delenv("OMP_NUM_THREADS")
    app.main()
    assert os.environ["OMP_NUM_THREADS"] == "3"
    monkeypatch.setenv("NINO_THREADS", "many")
    with pytest.raises(SystemExit):
        app.main()
    assert capsys.readouterr().err == "nino: error: `NINO_THREADS` (='many') must be a number of threads, at least 1\n"
