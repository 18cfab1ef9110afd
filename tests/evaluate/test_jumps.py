"""What nowcasts did to each tensor, against the parameters themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from nino.evaluate.jumps import jump_rows, tensor_kinds
from nino.evaluate.loop import EvaluatedTraining
from nino.evaluate.methods import method_nowcaster, start_training
from nino.evaluate.run import evaluate_run
from nino.evaluate.run_folder import JUMP_COLUMNS, QUANTILES
from nino.specs import MethodSpec

STEPS, PERIOD, SPACING = 40, 20, 4  # of the fixtures


def start(task, schedule, nowcaster: str = "linear", **options) -> EvaluatedTraining:
    row = MethodSpec(nowcaster, nowcaster, options=options)
    return EvaluatedTraining(start_training(task, row, 1000, schedule, method_nowcaster(row, 1000, schedule)))


def values(run: EvaluatedTraining) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in run.training.model.named_parameters()}


def test_rows_are_those_of_the_parameters(pydoc, schedule) -> None:
    run = start(pydoc, schedule)
    seen = {}
    for step in range(1, PERIOD + 1):
        seen[step] = values(run)  # before the step
        run.advance()
    names = list(seen[1])
    assert [row["tensor"] for row in run.jumps] == names and {row["step"] for row in run.jumps} == {PERIOD}
    k = run.nowcasts[0]["k"]
    for row in run.jumps:
        assert tuple(row) == JUMP_COLUMNS and row["k"] == k
        name = row["tensor"]
        before, now, after = (each[name] for each in (seen[PERIOD - SPACING], seen[PERIOD], values(run)))
        change, movement = (after - now).flatten(), (now - before).flatten()
        assert row["elements"] == change.numel()
        assert row["movement"] == pytest.approx(float(movement.norm()), rel=1e-5)
        assert row["change"] == pytest.approx(float(change.norm()), rel=1e-5)
        sizes = change.abs().numpy() / np.sqrt(np.mean(movement.numpy() ** 2))
        np.testing.assert_allclose([row[q] for q in QUANTILES], np.quantile(sizes, list(QUANTILES.values())), rtol=1e-4)
        assert row["largest"] == pytest.approx(sizes.max(), rel=1e-4)
    total = sum(row["change"] ** 2 for row in run.jumps) ** 0.5
    assert total == pytest.approx(run.nowcasts[0]["norm"], rel=1e-5)


def test_nothing_else_of_a_run_changes(digits, schedule, monkeypatch) -> None:
    with_rows, without = start(digits, schedule, "random"), start(digits, schedule, "random")
    for _ in range(STEPS):
        with_rows.advance()
    monkeypatch.setattr("nino.evaluate.loop.jump_rows", lambda *_: [])
    for _ in range(STEPS):
        without.advance()
    assert len(with_rows.jumps) == 2 * len(values(with_rows)) and not without.jumps
    for one, other in zip(values(with_rows).values(), values(without).values(), strict=True):
        assert torch.equal(one, other)
    assert not with_rows.training.optimizer.progress.post_hooks


def test_a_nowcast_that_was_put_back_has_no_rows(digits, schedule) -> None:
    run = start(digits, schedule, update_scale=1e4, accept="loss")
    for _ in range(PERIOD):
        run.advance()
    assert [nowcast["accepted"] for nowcast in run.nowcasts] == [False] and run.jumps == []


def test_tensors_that_did_not_move_have_no_quantiles(digits, schedule) -> None:
    run = start(digits, schedule)
    for group in run.training.optimizer.param_groups:
        group["lr"] = 0.0
    for _ in range(PERIOD):
        run.advance()
    assert all(row["movement"] == row["change"] == 0 and row["q50"] is row["largest"] is None for row in run.jumps)


def test_large_tensors_are_sampled(digits, schedule, monkeypatch) -> None:
    run = start(digits, schedule)
    found = {}

    def both(optimizer, record):
        found["all"] = jump_rows(optimizer, record)
        monkeypatch.setattr("nino.evaluate.jumps.SAMPLE", 50)
        found["some"] = jump_rows(optimizer, record)
        return []

    monkeypatch.setattr("nino.evaluate.loop.jump_rows", both)
    for _ in range(PERIOD):
        run.advance()
    for one, other in zip(found["all"], found["some"], strict=True):
        assert one["largest"] == other["largest"] and one["change"] == other["change"]
        assert other["q50"] == pytest.approx(one["q50"], rel=0.5)


def test_they_lie_beside_the_nowcasts_and_survive_a_checkpoint(digits, schedule, tmp_path: Path) -> None:
    evaluate_run(digits, MethodSpec("linear", "linear"), 1000, schedule, tmp_path / "run")
    table = pd.read_csv(tmp_path / "run" / "jumps.csv")
    assert tuple(table) == JUMP_COLUMNS and table.step.unique().tolist() == [PERIOD, STEPS]
    run = start(digits, schedule)
    for _ in range(PERIOD):
        run.advance()
    again = start(digits, schedule)
    state = run.state_dict()
    again.load_state_dict(state)
    assert again.jumps == run.jumps != []
    del state["jumps"]  # as earlier versions wrote it
    old = start(digits, schedule)
    old.load_state_dict(state)
    assert old.jumps == []


def test_kinds_are_those_of_the_edges(pydoc) -> None:
    from nino.graphs import neural_graph

    kinds = tensor_kinds(neural_graph(pydoc.build_model(0)))
    assert kinds["transformer.wte.weight"] == "word embedding"
    assert kinds["transformer.h.0.attn.c_attn.weight"] == "query + key + value"
    assert kinds["transformer.h.0.ln_1.weight"] == "norm"
