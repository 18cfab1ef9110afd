"""Pydantic's errors in our words; tests of whole configs are in tests/config/test_resolve.py."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from nino.config.load import load, without_nulls
from nino.specs import Config, L2OSpec, ScheduleSpec, SiteSpec, problems
from nino.specs.values import CONFIG

BASE = Path(__file__).resolve().parents[2] / "config.yaml"


@pytest.fixture
def values() -> dict[str, Any]:
    return dict(without_nulls(load([], BASE)))


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        # numbers that no training can use
        ("tasks.fm-16.recipe.lr", float("nan"), "tasks.fm-16.recipe.lr (=NaN) must be a finite number; Learning rate"),
        ("tasks.fm-16.target.value", float("inf"), "tasks.fm-16.target.value (=Infinity) must be a finite number"),
        ("evaluate.schedule.power", float("inf"), "evaluate.schedule.power (=Infinity) must be a finite number"),
        ("evaluate.seeds", [1000.0], "evaluate.seeds[0] (=1000.0) must be a whole number; A run a seed"),
        ("evaluate.seeds", [2**64], "evaluate.seeds[0] (=18446744073709551616) must be at most 9223372036854775807"),
        (
            "trajectories.fm-16.first_seed",
            2**63,
            "trajectories.fm-16.first_seed (=9223372036854775808) must be at most",
        ),
        ("metatrain.nowcasters.nino.model", {"lpe": 3}, "nino.model.lpe (=3) must be a multiple of 8; Eigenvectors"),
        # names that no path can hold
        ("run", "a\n", 'run (="a\\n") must match ^[A-Za-z0-9]'),
        ("run", "a" * 101, "must hold at most 100 characters; Name of the run"),
        ("evaluate.methods", {"a/b": {"nowcaster": "none"}}, 'evaluate.methods (="a/b") must match'),
        ("evaluate.methods", {"m" * 101: {"nowcaster": "none"}}, "must hold at most 100 characters; Name of a task"),
        # one kind of value in the place of another
        ("run", datetime.date(2026, 1, 1), 'run (="2026-01-01") must be text'),
        ("evaluate.seeds", True, "evaluate.seeds (=true) must be a list"),
        ("tasks.fm-16.recipe.steps", True, "tasks.fm-16.recipe.steps (=true) must be a whole number"),
        ("tasks.fm-16.evaluation.hardest_first", "yes", 'hardest_first (="yes") must be yes or no; Whether'),
        ("tasks.fm-16", 3, "tasks.fm-16 (=3) must be a mapping; A task"),
        ("evaluate.methods.nino.nowcaster", 3, "evaluate.methods.nino.nowcaster (=3) must be text; What forecasts"),
        ("evaluate.methods", {16: {"nowcaster": "none"}}, "evaluate.methods (=16) must be text; Name of a task"),
        ("evaluate.schedule", {16: 1}, "evaluate.schedule.16: unknown key; allowed: context, max_horizon, period"),
        ("report.notes", {"fm-16": ""}, 'report.notes.fm-16 (="") must hold at least 1 character; What a reader'),
        # options, by the name beside them
        ("tasks.fm-16.model", {"name": "convnet"}, "tasks.fm-16.model.options.channels: missing; Output channels"),
        ("tasks.lm1b-3-24.data.options", {"files": {"trian": "a"}}, "files.trian: unknown key; did you mean 'train'?"),
        ("tasks.lm1b-3-24.data.options", {"files": {"train": 3}}, "files.train (=3) must be text or a list; File or"),
        ("tasks.lm1b-3-24.data.options", {"files": {"train": ["a", "b"]}}, ""),
        (
            "evaluate.methods.m",
            {"nowcaster": "a.py:A", "options": {"x": {}}},
            "x (={}) must be a number or text or yes",
        ),
        ("evaluate.methods.m", {"nowcaster": "a.py:A", "options": {"x": [1], "y": "z"}}, ""),
        (
            "evaluate.methods.m",
            {"nowcaster": "a.py:A", "options": {1: 2}},
            "evaluate.methods.m.options (=1) must be text; Further arguments of the nowcaster",
        ),
        ("tasks.fm-16.model", {"name": "a.py:m", "options": {True: 2}}, "fm-16.model.options (=true) must be text; A"),
        ("tasks.fm-16.model", {"name": "timm", "options": {1.5: 2}}, "fm-16.model.options (=1.5) must be text; A"),
        ("evaluate.methods.m", {"nowcaster": "a.py:9"}, "random; or a nowcaster of your own: FILE.py:NAME"),
        ("evaluate.methods.m", {"nowcaster": "linear", "name": "x"}, "methods.m.name: unknown key; allowed: label"),
    ],
)
def test_what_is_wrong_is_said_once(values: dict[str, Any], path: str, value: Any, says: str) -> None:
    *parents, key = path.split(".")
    place = values
    for parent in parents:
        place = place[parent]
    place[key] = value
    found = problems(Config, values, CONFIG)
    assert len(found) == bool(says) and says in "".join(found)


def test_problems_are_in_the_order_of_the_keys() -> None:
    found = problems(L2OSpec, {"lr": -1, "iterations": 0, "hiden": 1, "trainings": 1.5})
    assert [sentence.split()[0] for sentence in found] == ["hiden:", "iterations", "lr", "trainings"]


def test_what_is_no_mapping_is_said() -> None:
    for wrong in ([], None, "text"):
        with pytest.raises(ValueError, match="ScheduleSpec: .* must be a mapping; When nowcasts happen"):
            ScheduleSpec.from_dict(wrong)  # type: ignore[arg-type]


def test_a_spec_s_own_rules_are_said_as_they_are() -> None:
    site = {"account": "", "partitions": {"cpu": "", "gpu": ""}, "constraint": "", "max_minutes": 1, "max_memory_mb": 1}
    assert problems(SiteSpec, site | {"gpus": {"default": "any"}}) == [
        "gpus.metatrain: missing; GPU for fitting a nowcaster [gres type, any or none; required]"
    ]
