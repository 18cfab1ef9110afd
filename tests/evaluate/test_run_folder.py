import ast
import json
from pathlib import Path

import numpy as np
import pytest

from nino.evaluate.attempts import give_up
from nino.evaluate.run import evaluate_run
from nino.evaluate.run_folder import (
    COLUMNS,
    FILES,
    LOG_COLUMNS,
    NOWCAST_COLUMNS,
    CorruptRunError,
    read_result,
    read_table,
    write_table,
)
from nino.specs import MethodSpec

ROOT = Path(__file__).parents[2]


def test_round_trip_keeps_every_digit_and_what_was_not_measured(tmp_path) -> None:
    row = {"step": 3, "k": 40, "seconds": 0.1234567, "norm": 1 / 3, "finite": True, "accepted": False}
    rows = [row | {"loss_before": 0.1 + 0.2, "loss_after": None}, row | {"loss_before": 1e-30, "loss_after": np.inf}]
    path = tmp_path / "deep" / "nowcasts.csv"
    write_table(path, rows, NOWCAST_COLUMNS)
    table = read_table(path)
    assert table["step"].tolist() == [3, 3] and table["norm"].tolist() == [1 / 3, 1 / 3]
    assert table["finite"].tolist() == [1, 1] and table["accepted"].tolist() == [0, 0]
    assert table["loss_before"].tolist() == [0.1 + 0.2, 1e-30]
    assert np.isnan(table["loss_after"][0]) and np.isinf(table["loss_after"][1])
    assert table["seconds"][0] == 0.123457


@pytest.mark.parametrize("name", COLUMNS)
def test_no_rows_is_a_table_too(tmp_path, name) -> None:
    write_table(tmp_path / name, [], COLUMNS[name])
    lengths = {column: len(values) for column, values in read_table(tmp_path / name).items()}
    assert lengths == dict.fromkeys(COLUMNS[name], 0)


def test_text_is_read_as_text(tmp_path) -> None:
    row = dict.fromkeys(COLUMNS["jumps.csv"], 0.5) | {"tensor": "0.weight", "kind": "linear", "largest": None}
    write_table(tmp_path / "jumps.csv", [row], COLUMNS["jumps.csv"])
    table = read_table(tmp_path / "jumps.csv")
    assert table["tensor"].tolist() == ["0.weight"] and table["q50"].tolist() == [0.5] and np.isnan(table["largest"][0])


@pytest.mark.parametrize("text", ["", "step,loss\n1,2\n"])
def test_another_header_is_refused(tmp_path, text) -> None:
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(CorruptRunError, match=r"log\.csv: has the columns"):
        read_table(tmp_path / "log.csv")


def test_a_cut_file_is_refused(tmp_path) -> None:
    (tmp_path / "log.csv").write_text(",".join(LOG_COLUMNS) + "\n1,2,3\n")
    with pytest.raises(CorruptRunError, match="line 2 has 3 cells"):
        read_table(tmp_path / "log.csv")


def test_a_row_lacks_a_column(tmp_path) -> None:
    with pytest.raises(KeyError, match="train_loss"):
        write_table(tmp_path / "log.csv", [{"step": 1}], LOG_COLUMNS)
    assert list(tmp_path.iterdir()) == []


def test_every_result_has_the_same_keys(digits, variant, schedule, tmp_path) -> None:
    method = MethodSpec("base", "none")
    give_up(digits.spec, method, 1000, schedule, tmp_path / "killed", "killed: its memory ran out")
    evaluate_run(variant(recipe={"lr": 1e30}), method, 1000, schedule, tmp_path / "diverged")
    for name, nowcaster in (("done", "none"), ("oracle", "oracle")):
        evaluate_run(digits, MethodSpec("base", nowcaster), 1000, schedule, tmp_path / name)
    results = {folder.name: read_result(folder) for folder in tmp_path.iterdir()}
    assert {result["status"] for result in results.values()} == {"done", "diverged", "failed"}
    assert len({tuple(sorted(result)) for result in results.values()}) == 1
    assert {name for name, result in results.items() if result["fork_steps"] is not None} == {"oracle"}
    assert {tuple(sorted(path.name for path in folder.iterdir())) for folder in tmp_path.iterdir()} == {
        tuple(sorted(FILES))
    }


def test_results_of_earlier_versions_are_read() -> None:
    """Committed runs, and runs that were killed before both kinds had the same keys."""
    committed = [path.parent for path in ROOT.glob("results/*/evaluate/*/*/seed=*/run.json")]
    keys = {frozenset(read_result(folder)) for folder in committed}
    assert len(keys) >= 3, "with and without members_at_once, and oracles"


def test_a_killed_run_of_an_earlier_version_is_read(tmp_path) -> None:
    keys = ("format", "task", "method", "label", "seed", "status", "reason", "metric", "higher_is_better", "target")
    keys += ("split", "steps", "provenance", "step_at_target", "seconds_at_target", "best", "final")
    result = dict.fromkeys(keys) | {"format": 1, "status": "failed"}
    (tmp_path / "run.json").write_text(json.dumps(result))
    assert read_result(tmp_path) == result


def test_the_names_of_a_runs_files_stand_in_one_module() -> None:
    names = set(FILES) - {"log.csv"}  # meta-training writes one, too
    for path in [*ROOT.glob("nino/**/*.py"), *ROOT.glob("nino/workflow/**/*.smk")]:
        if path.name == "run_folder.py":
            continue
        text = path.read_text()
        if path.suffix == ".py":
            text = " ".join(
                n.value for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Constant) and n.value in names
            )
        assert not [name for name in names if name in text], path
