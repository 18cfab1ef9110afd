"""Rows of the overhead table: what a killed measurement leaves to the next one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nino.specs import OverheadSpec
from nino.studies import overhead_rows
from nino.studies.overhead import Cost
from nino.studies.overhead_rows import costs

SPEC = OverheadSpec(models=("gpt2-1-8",), methods=("adam", "wnn+", "nino"), hidden=4, batch=2, tokens=8)


class Pool:
    """Measures at once, and is killed before the row of that number."""

    def __init__(self, kill: int | None = None) -> None:
        self.measured: list[str] = []
        self.kill = kill

    def submit(
        self, job: Callable[..., Cost], spec: OverheadSpec, model: str, method: str, device: str
    ) -> Future[Cost]:
        if len(self.measured) == self.kill:
            raise KeyboardInterrupt
        self.measured.append(method)
        done: Future[Cost] = Future()
        done.set_result(Cost(model, method, 3, device, 1.0, len(method), None, 1, 1, spread=(1.0, 2.0)))
        return done


@pytest.fixture
def attempt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[Pool, list[Cost]]]:
    def run(spec: OverheadSpec = SPEC, kill: int | None = None, **hardware: Any) -> tuple[Pool, list[Cost]]:
        pool = Pool(kill)
        monkeypatch.setattr(overhead_rows, "_alone", lambda: nullcontext(pool))
        monkeypatch.setattr(overhead_rows, "provenance", lambda **inputs: {"hardware": hardware, "inputs": str(inputs)})
        if kill is None:
            return pool, costs(spec, "cpu", tmp_path / "unfinished.json")
        with pytest.raises(KeyboardInterrupt):
            costs(spec, "cpu", tmp_path / "unfinished.json")
        return pool, []

    return run


def test_a_killed_measurement_goes_on_where_it_stopped(attempt) -> None:
    attempt(kill=2)
    pool, rows = attempt()
    assert pool.measured == ["nino"]
    assert [row.method for row in rows] == list(SPEC.methods)
    again, same = attempt()
    assert not again.measured and same == rows


@pytest.mark.parametrize("change", [{"spec": replace(SPEC, tokens=4)}, {"cpu": "another"}])
def test_rows_of_another_study_or_machine_are_measured_again(attempt, caplog, change: dict[str, Any]) -> None:
    attempt(kill=2)
    with caplog.at_level(logging.WARNING):
        assert attempt(**change)[0].measured == list(SPEC.methods)
    assert "starting over" in caplog.text


def test_a_damaged_file_is_measured_again(attempt, caplog, tmp_path: Path) -> None:
    attempt(kill=2)
    file = tmp_path / "unfinished.json"
    file.write_text(file.read_text()[:-20])
    assert attempt()[0].measured == list(SPEC.methods)
    assert "cannot be read" in caplog.text


def test_a_row_that_the_system_kills_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Pool):
        def submit(self, *_: Any) -> Future[Cost]:
            raise BrokenProcessPool

    monkeypatch.setattr(overhead_rows, "_alone", lambda: nullcontext(Broken()))
    with pytest.raises(MemoryError, match="adam on gpt2-1-8 was killed"):
        costs(SPEC, "cpu")
