from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nino.report.across_tasks import best_method, profile
from nino.report.build import build_tables
from nino.report.captions import (
    curves_sentence,
    headline,
    profile_sentence,
    spikes_sentence,
    worth_sentence,
)
from nino.report.fixed_steps import fixed_step_table
from nino.report.nowcast_losses import nowcast_table
from nino.report.rendering import Table, rst_escape
from nino.report.runs import Key, Runs, read_runs
from nino.report.statistics import smallest_n
from nino.report.steps_to_target import summary_table, table2
from nino.specs import MethodSpec, ReportSpec

from .conftest import METHODS, hit_runs, make_task, write_run

NAN, MISS = float("nan"), float("inf")


def test_headline_gives_the_numbers_of_the_table(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400, 400], "nino": [200, 300], "random": [500, 500]})
    text = " ".join(headline(runs))
    assert (
        "NiNo reached the target in 2 of 2 runs and took 37.5 % fewer steps than Adam (2 pairs of runs; "
        "speed-up 25.0 % to 50.0 %, by seed)."
    ) in text
    assert "on 0 of 1 task, corrected for 2 comparisons (Holm); with 2 seeds it cannot: it needs 7." in text
    assert "interval" not in text
    assert text.endswith("There are runs of 3 methods on digits-8 (baseline and controls included).")
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
    assert best_method(runs) == "nino", "on the common task; over all tasks WNN+ has more runs"
    sentences = headline(runs)
    assert sentences[0].startswith("NiNo reached the target in 2 of 2 runs")
    assert "It is the best on a, which all methods are planned on." in sentences
    assert summary_table(runs).bold == {(1, "Mean speed-up, %")}
    apart = replace(spec, only={"nino": ("a",), "wnn+": ("b",)})
    sentences = headline(read_runs(tmp_path, apart))
    assert "No task is planned for all methods: none is ranked." in sentences
    assert [s.split(" reached")[0] for s in sentences if " took " in s] == ["WNN+", "NiNo"]


def test_slower_method_is_said_to_be_slower(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [200], "nino": [300]})
    assert "took 50.0 % more steps than Adam" in headline(runs)[0]


def test_nobody_reached(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [MISS], "nino": [MISS]})
    assert "no speed-up" in headline(runs)[0]
    assert curves_sentence(runs, "digits-8") == "digits-8: it was met by no run of Adam (1 seed); NiNo (1 seed)."
    said = profile_sentence(runs, profile(runs, ("base", "nino")))
    assert said == "No run of the compared methods met its target: none is the fastest."


def test_gaps_are_said(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [200, 200], "nino": [100, NAN]})
    assert "1 missing" in headline(runs)[-1]
    assert headline(runs)[-2] == "There are runs of 2 methods on digits-8 (baseline and controls included)."
    unrun = hit_runs(tmp_path / "c", {"base": [200], "wnn+": [NAN], "nino": [NAN]})
    ran = "There are runs of 1 method on digits-8 (baseline and controls included)."
    assert headline(unrun) == ("There is no run of WNN+; NiNo.", ran, "Not all runs finished: 2 missing.")
    said = curves_sentence(unrun, "digits-8")
    assert said.startswith("digits-8: the target was met by Adam at step 200. digits-8: there is no run of WNN+; NiNo.")
    assert spikes_sentence(unrun, "nino", "digits-8") == "digits-8: there is no run of NiNo."
    alone = hit_runs(tmp_path / "b", {"base": [200]})
    assert headline(alone) == ("No method was compared with the baseline.", ran)


def test_figures_say_what_they_show(runs: Runs) -> None:
    assert "Adam at step 640" in curves_sentence(runs, "digits-8")
    assert spikes_sentence(runs, "nino") == "48 of 60 nowcasts of NiNo lowered the loss of the next batch."
    assert worth_sentence(runs, runs.spec.tasks[0]) == (
        "digits-8: 500 steps are worth 690 with WNN+; 930 with NiNo, in steps of Adam (median over seeds)."
    )
    assert "digits-8: 24 of 30 nowcasts" in spikes_sentence(runs, "nino", "digits-8")
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


def numbers(text: str) -> list[float]:
    """The numbers that a sentence cites, apart from those that are part of a name."""
    return [float(word.replace("−", "-")) for word in re.findall(r"(?<![\w.-])[−]?\d+(?:\.\d+)?(?![\w-])", text)]


def test_every_number_of_the_headline_is_that_of_its_tables(tmp_path: Path) -> None:
    """With misses on both sides, a control and a gap: all seeds, bounds and corrected tests as the tables have them."""
    hits = {
        "base": [MISS, 900, 680, 700],
        "random": [900, 950, 990, 990],
        "wnn+": [940, 620, 460, NAN],
        "nino": [800, 650, 500, 400],
    }
    runs = hit_runs(tmp_path, hits)
    lead, separation, unranked, controls, ran, gaps = headline(runs)
    summary, rows = summary_table(runs).data.set_index("method"), table2(runs).data.set_index("method")
    nino, random = summary.loc["nino"], summary.loc["random"]
    cited = [nino.runs_reached, nino.runs, nino.speedup_percent, 4, 95, nino.interval_low, nino.interval_high]
    assert (
        numbers(lead) == pytest.approx(cited, abs=0.05)
        and "at least" in lead
        and "95 % interval of the speed-up" in lead
    )
    tests = int(rows.p_holm.notna().sum())
    cited = [int(rows.loc["nino", "separated_from_baseline"]), 1, tests, 4, smallest_n(0.95, tests)]
    assert numbers(separation) == cited
    assert unranked == "Not ranked, as runs are missing: WNN+."
    assert numbers(controls) == pytest.approx([random.speedup_percent], abs=0.05) and "≥" in controls
    assert numbers(ran) == [4] and numbers(gaps) == [1]


def test_every_number_of_a_figure_s_caption_is_that_of_its_table(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [MISS, 900], "wnn+": [MISS, MISS], "nino": [800, 650]})
    task, rows = runs.spec.tasks[0], table2(runs).data.set_index("method")
    base, nino = rows.loc["base"], rows.loc["nino"]
    said = curves_sentence(runs, task.id)
    cited = [base.steps_mean, base.seeds_reached, base.seeds_run, nino.steps_mean, rows.loc["wnn+"].seeds_run]
    assert numbers(said) == cited
    assert "met by Adam at step > 950 (1 of 2 seeds); NiNo at step 725. " in said
    assert "digits-8: it was met by no run of WNN+ (2 seeds)." in said
    worth = fixed_step_table(runs).text.set_index("Method")["Half the steps are worth"]
    assert numbers(worth_sentence(runs, task)) == [500, *(float(worth[name]) for name in ("WNN+", "NiNo"))]
    nowcasts = nowcast_table(runs)
    row = nowcasts.text.set_index("Method").loc["NiNo"]
    before, after = row["Loss before → after"].split(" → ")
    lowered = round(float(row["Loss lowered"].removesuffix(" %")) * int(row["Nowcasts"]) / 100)
    cited = [lowered, int(row["Nowcasts"]), float(row["First: k"]), float(before), float(after)]
    assert numbers(spikes_sentence(runs, "nino")) == cited
    shown = profile(runs, ("base", "wnn+", "nino"))
    cited = [100 * shown.rho["nino"][0], 100 * shown.rho["nino"][100]]
    assert shown.taus[100] == pytest.approx(2.0) and numbers(profile_sentence(runs, shown)) == cited


def test_a_seed_that_is_missing_is_said_in_the_caption(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [900, 800, MISS], "wnn+": [500, NAN, NAN], "nino": [MISS, NAN, MISS]})
    said = curves_sentence(runs, "digits-8")
    assert "WNN+ at step 500 (1 of 1 seed, 2 missing)." in said and "no run of NiNo (2 seeds, 1 missing)." in said


def test_ties_for_the_fastest_are_all_named(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [900, 800], "wnn+": [500, 600], "nino": [500, 600]})
    said = profile_sentence(runs, profile(runs, ("base", "wnn+", "nino")))
    assert said.startswith("WNN+ and NiNo are each the fastest of a seed in 100 % of the runs")
    assert "are within twice the fastest in 100 % and 100 %;" in said


def test_means_over_tasks_are_not_called_the_range_of_seeds(runs: Runs) -> None:
    lead, nino = headline(runs)[0], summary_table(runs).data.set_index("method").loc["nino"]
    assert "mean over 2 tasks, 6 pairs of runs; speed-up" in lead and "means of the lowest and highest seeds)." in lead
    assert numbers(lead)[-2:] == pytest.approx([nino.interval_low, nino.interval_high], abs=0.05)


@pytest.mark.parametrize("planned", [("digits-8",), ("digits-8", "pydoc-2-16")])
def test_no_caption_says_what_methods_without_nowcasts_did_to_the_loss(runs: Runs, planned: tuple[str, ...]) -> None:
    """Another base optimizer, such as Adam with a tuned rate, and a method that is not planned on a task."""
    tuned = MethodSpec("identity", "none", label="Adam, tuned rate")
    only = {} if len(planned) > 1 else {"wnn+": planned}
    spec = replace(runs.spec, methods=(METHODS[0], tuned, *METHODS[2:]), only=only)
    assert spec.contenders == ("identity", "wnn+", "nino")
    assert spec.nowcasting("pydoc-2-16") == (("wnn+", "nino") if len(planned) == 2 else ("nino",))
    said = " ".join(table_of(replace(runs, spec=spec), "nowcasts").findings)
    assert "tuned" not in said and "of WNN+ lowered" in said and "of NiNo lowered" in said


def table_of(runs: Runs, name: str) -> Table:
    return next(table for table in build_tables(runs) if table.name == name)


@pytest.mark.parametrize("seeds", [1, 2, 3, 4])
def test_no_sentence_calls_the_range_of_few_seeds_an_interval(tmp_path: Path, seeds: int) -> None:
    runs = hit_runs(tmp_path, {"base": [400, 500, 450, 480][:seeds], "nino": [200, 300, 250, 220][:seeds]})
    for table in build_tables(runs):
        text = " ".join([*table.findings, *map(str, table.text.columns)])
        assert ("interval" in text) == (seeds > 3 and table.name in ("table2", "summary", "timing")) or (
            seeds == 1 and "interval" not in " ".join(table.findings)
        ), (table.name, text)
