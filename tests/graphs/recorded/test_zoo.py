"""What the documentation counts is what the benchmark gives."""

from __future__ import annotations

import pytest

from benchmarks.zoo import measure
from benchmarks.zoo_families import families
from benchmarks.zoo_rows import (
    COUNTS,
    NOTHING,
    REST,
    RESULTS,
    all_rows,
    counts,
    read,
    rest,
    runs,
    settled,
    verified,
    whole,
)

FAMILIES = {model.name: model for model in families()}
ROWS = {row["model"]: row for row in read(RESULTS / "zoo_families.csv")}


def test_the_table_has_a_row_for_every_family() -> None:
    assert set(ROWS) == set(FAMILIES)
    assert {(row["model"], row["kind"]) for row in ROWS.values()} == {(m.name, m.kind) for m in FAMILIES.values()}


def test_the_counts_are_those_of_the_rows() -> None:
    expected = [{column: str(row[column]) for column in COUNTS} for row in counts(all_rows())]
    assert read(RESULTS / "zoo_counts.csv") == expected
    assert read(RESULTS / "zoo_rest.csv") == [{column: row[column] for column in REST} for row in rest(all_rows())]


def test_no_row_says_verified_of_a_graph_without_interchangeable_neurons() -> None:
    assert all((row["renumbered"] == "0") == (row["verified"] == NOTHING) for row in all_rows() if row["verified"])


def test_what_is_counted() -> None:
    row = {"outcome": "recorded", "on_edges": "1.0", "verified": "yes"}
    assert runs(row) and whole(row) and verified(row)
    assert whole({**row, "verified": ""}) and not verified({**row, "verified": ""})
    nothing = {**row, "verified": NOTHING}
    assert whole(nothing) and settled(nothing) and not verified(nothing)
    assert settled(row) and not settled({**row, "verified": ""}) and not settled({**row, "verified": "error"})
    assert not whole({**row, "verified": "no"}) and not whole({**row, "on_edges": "0.94"})
    refused = {"outcome": "refused", "on_edges": "", "verified": ""}
    assert runs(refused) and not whole(refused)
    assert not runs({**refused, "outcome": "not small"})


@pytest.mark.parametrize("name", ["nanoGPT", "modded-nanoGPT", "LSTM", "U-Net", "SwiGLU", "pruning", "llama", "t5"])
def test_rows_are_what_a_recording_gives_today(name: str) -> None:
    row = measure(FAMILIES[name], verify=1.0)
    for column in ("parameters", "unread", "on_edges", "verified", "renumbered", "outcome"):
        assert str(row[column]) == ROWS[name][column], column
