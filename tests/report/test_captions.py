from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nino.report.across_tasks import best_method, profile
from nino.report.captions import (
    curves_sentence,
    headline,
    profile_sentence,
    smallest_n,
    spikes_sentence,
    worth_sentence,
)
from nino.report.rendering import rst_escape
from nino.report.runs import Key, Runs, read_runs
from nino.report.steps_to_target import summary_table
from nino.specs import ReportSpec

from .conftest import METHODS, hit_runs, make_task, write_run

NAN, MISS = float("nan"), float("inf")


def test_headline_gives_the_numbers_of_the_table(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400, 400], "nino": [200, 300], "random": [500, 500]})
    text = " ".join(headline(runs))
    assert "NiNo reached the target in 2 of 2 runs and took 37.5 % fewer steps than Adam" in text
    assert "on 0 of 1 task; with 2 seeds it cannot: it needs 6" in text
    assert "random −25.0 %" in text


def test_more_tasks_do_not_make_a_method_the_best(tmp_path: Path) -> None:
    tasks = make_task("a", value=90.0), make_task("b", value=90.0)
    methods = METHODS[:1] + METHODS[5:]
    spec = ReportSpec("x", tasks, methods, (1000, 2000), resamples=50, only={"nino": ("a",)})
    steps = np.arange(10, 1001, 10)
    hits = {"base": 500, "wnn+": 400, "nino": 100}
    for task in tasks:
        for method in methods:
            for seed in spec.seeds if spec.plans(task.id, method.name) else ():
                miss = (method.name, task.id, seed) == ("wnn+", "a", 2000)
                values = np.where(steps >= (MISS if miss else hits[method.name]), 95.0, 50.0)
                write_run(tmp_path, Key(task.id, method.name, seed), task, steps, values)
    runs = read_runs(tmp_path, spec)
    assert best_method(runs) == "nino", "2 of 2 on the common task, where WNN+ has 1 of 2; 3 of 4 in all"
    sentences = headline(runs)
    assert sentences[0].startswith("NiNo reached the target in 2 of 2 runs")
    assert "It is the best on a, which all methods are planned on." in sentences
    assert summary_table(runs).bold == {(1, "Mean speed-up, %")}
    apart = replace(spec, only={"nino": ("a",), "wnn+": ("b",)})
    assert "No task is planned for all methods: each was ranked on its own." in headline(read_runs(tmp_path, apart))


def test_slower_method_is_said_to_be_slower(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [200], "nino": [300]})
    assert "took 50.0 % more steps than Adam" in headline(runs)[0]


def test_nobody_reached(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [MISS], "nino": [MISS]})
    assert "no speed-up" in headline(runs)[0]
    assert "NiNo never" in curves_sentence(runs, "digits-8")


def test_gaps_are_said(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [200, 200], "nino": [100, NAN]})
    assert "1 missing" in headline(runs)[-1]
    unrun = hit_runs(tmp_path / "c", {"base": [200], "wnn+": [NAN], "nino": [NAN]})
    assert headline(unrun) == ("There is no run of WNN+, NiNo.",)
    alone = hit_runs(tmp_path / "b", {"base": [200]})
    assert headline(alone) == ("No method was compared with the baseline.",)


def test_figures_say_what_they_show(runs: Runs) -> None:
    assert "Adam at step 640" in curves_sentence(runs, "digits-8")
    assert "48 of 60 nowcasts of NiNo lowered" in spikes_sentence(runs, "nino")
    assert worth_sentence(runs, runs.spec.tasks[0]) == (
        "digits-8: 500 steps are worth 690 with WNN+, 930 with NiNo in steps of Adam (median over seeds)."
    )
    assert "digits-8: 24 of 30 nowcasts" in spikes_sentence(runs, "nino", "digits-8")
    assert spikes_sentence(runs, "base") == "Adam made no nowcast."
    assert "NiNo is the fastest of a seed in 100 %" in profile_sentence(runs, profile(runs, runs.spec.realizable))


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_smallest_n_is_the_first_that_can_separate(confidence: float) -> None:
    n = smallest_n(confidence)
    assert 2 / 2**n <= 1 - confidence + 1e-9 < 2 / 2 ** (n - 1) + 2e-9


def test_escaped_text_survives_docutils() -> None:
    docutils = pytest.importorskip("docutils.core")
    text = "a_b_ *c* `d` |e| 50 % wnn+"
    body = docutils.publish_parts(rst_escape(text), writer="html")["body"]
    assert body.strip() == f"<p>{text}</p>"
