"""Tables of studies: what they say of published values, what they measure, what they mark."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nino.report.cells import Measured, measure
from nino.report.comparisons import compare
from nino.report.measures import MEASURES, PLANNED, Cell, values
from nino.report.runs import Runs, read_runs
from nino.report.studies import Study, build, study, study_names
from nino.report.study_figure import positions, study_figure
from nino.report.study_results import best_row, study_table, write_study
from nino.specs import MethodSpec, ReportSpec
from nino.specs.recipe import MethodRecipe
from nino.specs.studies import study_files

from .conftest import METHODS, hit_runs, make_task, write_run


def little(*columns: dict[str, object]) -> Study:
    """A study of the test's runs: a row a method."""
    rows = [{"title": name, "method": name} for name in ("base", "wnn+", "nino", "absent")]
    return build("little", {"title": "Little", "task": "digits-8", "columns": list(columns), "rows": rows})


NAN, MISS = float("nan"), float("inf")
SPEEDUP = {"title": "Speed-up, %", "measure": "speedup", "better": "higher"}


@pytest.mark.parametrize("name", study_names())
def test_without_runs_every_measured_cell_is_missing(name: str) -> None:
    wanted = study(name)
    table = study_table(wanted, None)
    assert (table.data.seeds == 0).all() and table.data["mean"].isna().all()
    assert (table.text[list(wanted.columns)] == "missing").all(axis=None)
    assert table.bold == frozenset() and table.findings == ("Nothing of this has been measured yet.",)
    for row in wanted.cells:
        for cell in row:
            assert cell.measure in {*MEASURES, *PLANNED, "mean_speedup"}
            assert cell.better in ("", "higher", "lower")
            # a path that leads nowhere would be a slip: what was not published has no path, or one without its end
            assert cell.source() is not None or len(cell.published) < 3
    assert wanted.contrasts or wanted.rows == ("{label}",), "a study says what it found"


@pytest.mark.parametrize(
    ("name", "row", "column", "value"),
    [
        ("table3", "NiNo", "Mean speed-up, %", 48.9),
        ("table3", "without scaling", "Mean speed-up, %", 32.1),
        ("table4", "NiNo, 5 % of the edges", "Perplexity, step 14,000", 22.29),
        ("learning-rates", "1e-4", "AdamW, step 10,000", 31.85),
        ("learning-rates", "8e-4", "NiNo, step 14,000", 22.98),
        ("learning-rates", "4e-4", "Speed-up, %", 21),
        ("vit", "NiNo", "Top-1 accuracy, %", 50.4),
        ("training-models", "100", "Mean speed-up, %", 45),
        ("model-size", "wiki-3-64", "NiNo, speed-up, %", 100 * (1 - 7000 / 13500)),
    ],
)
def test_published_values_stand_where_they_belong(name: str, row: str, column: str, value: float) -> None:
    data = study_table(study(name), None).data.set_index(["row", "column"])
    assert data.loc[(row, column), "published"] == pytest.approx(value)
    assert data.loc[(row, column), "published_source"] in ("review", "release", "table2")


def test_numbers_that_a_run_has_and_a_study_has_not_get_rows() -> None:
    def of(*methods: str) -> ReportSpec:
        return ReportSpec(
            "x", (make_task("digits-8"),), tuple(MethodSpec(m, "linear") for m in methods), (1,), baseline="base"
        )

    wanted = study("hidden-depth", of("base", "nino", "nino-8-2", "nino-8-3", "nino-64-2", "nino-fm-16", "wnn+-7-2"))
    assert wanted.rows == ("8", "32", "64", "128") and wanted.x == (8, 32, 64, 128)
    assert [cell.method for cell in wanted.cells[0]] == ["nino-8-2", "nino-8-3"]
    assert study("hidden-depth", of("base", "nino", "nino-64-2")) == study("hidden-depth")
    assert study("training-models", of("base", "nino-100", "nino-4")).rows == ("4", "40", "100", "300", "1000")


def test_the_size_of_a_model_is_that_of_the_runs(runs: Runs) -> None:
    rows = [{"title": "a", "x": 5, "task": "digits-8"}, {"title": "b", "x": 6, "task": "absent"}]
    axis = {"title": "parameters", "measured": "parameters"}
    sizes = build("sizes", {"title": "Sizes", "columns": [SPEEDUP], "rows": rows, "x": axis})
    measured = runs.frame[runs.frame.task == "digits-8"].parameters.iloc[0]
    assert measured > 6 and positions(sizes, runs) == [measured, 6] and positions(sizes, None) == [5, 6]


def test_what_was_not_published_is_empty() -> None:
    data = study_table(study("table3"), None).data.set_index("row")
    assert data.loc["naive graph", ["published", "published_source"]].isna().all()


def test_measured_cells_are_those_of_table_2(runs: Runs) -> None:
    table = study_table(little(SPEEDUP), runs)
    data = table.data.set_index("row")
    expected = compare(runs, "digits-8", "nino")
    assert data.loc["nino", "mean"] == pytest.approx(expected.speedup_percent)
    assert data.loc["nino", "interval_low"] == pytest.approx(expected.interval.low)
    assert data.loc["absent", "seeds"] == 0 and table.text["Speed-up, %"].tolist()[-1] == "missing"
    assert table.bold == {(2, "Speed-up, %")} and data.loc["nino", "best"]
    assert table.text["Speed-up, %"].tolist()[1].endswith("‡"), "three seeds separate nothing"


def test_the_difference_is_in_half_widths_of_an_interval(tmp_path: Path, runs: Runs) -> None:
    column = SPEEDUP | {"published": ["mean_speedup_percent", "nino"]}
    few = study_table(little(column), runs)
    assert np.isnan(few.data.set_index("row").loc["nino"].difference_half_widths), "a range of three seeds is none"
    assert few.text["Published"].tolist()[2] == "48.9"
    runs = hit_runs(tmp_path, {"base": [400, 500, 400, 450], "nino": [200, 260, 240, 250]})
    data = study_table(little(column), runs).data.set_index("row").loc["nino"]
    assert data.difference == pytest.approx(data["mean"] - 48.9)
    assert data.difference_half_widths == pytest.approx(
        data.difference / ((data.interval_high - data.interval_low) / 2)
    )
    text = study_table(little(column), runs).text
    assert text["Published"].tolist()[2].startswith("48.9 (") and text["Published"].tolist()[3] == "48.9"


def test_every_measure_of_known_runs(runs: Runs) -> None:
    def value(name: str, method: str = "nino", **more: Any) -> Measured:
        return measure(runs, Cell(name, method, **{"task": "digits-8", **more}))

    frame = runs.frame[(runs.frame.task == "digits-8") & (runs.frame.method == "nino")]
    assert value("steps").mean == pytest.approx(frame.steps.mean())
    assert value("best").mean == pytest.approx(frame.best.mean())
    assert value("final").std == pytest.approx(frame.final.std(ddof=1))
    logs = [runs.grid(key).set_index("step").test for key in runs.keys("digits-8", "nino")]
    assert value("value_at", step=1000).mean == pytest.approx(np.mean([log[990] for log in logs])), "1000 is a nowcast"
    assert value("value_at", step=2000).seeds == 0, "the runs do not go so far"
    assert value("last_quarter").mean == pytest.approx(np.mean([log[log.index > 750].mean() for log in logs]))
    assert value("peak_gb").mean == pytest.approx(0.5)
    assert value("seconds_per_step").mean == pytest.approx(10.0 / 1000)
    assert value("seconds_per_nowcast").mean == pytest.approx(0.05)
    assert value("seconds_per_nowcast", "base").seeds == 0
    assert value("overhead_percent").mean == pytest.approx(5.0)
    assert value("speedup", "base").seeds == 0
    assert value("mean_speedup", task="").interval.kind == "range" and value("mean_speedup", task="").tasks == 2
    assert (value("kept").mean, value("refused").mean, value("raised_percent").mean) == (10, 0, 20)
    first = 2 * np.exp(-1 / 3) + 0.1
    assert value("first_change_percent").mean == pytest.approx(100 * 0.1 / first)
    with pytest.raises(ValueError, match=r"`measure` \(='speed'\) must be one of mean_speedup, speedup"):
        value("speed")


def test_a_miss_counts_with_the_budget_and_a_missing_run_not_at_all(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400, 400, 400], "nino": [200, float("nan"), float("inf")]})
    found = measure(runs, Cell("speedup", "nino", "digits-8"))
    assert (found.mean, found.seeds, found.interval.kind, found.bound) == (-50.0, 2, "range", "≤")
    assert values(runs, Cell("speedup", "nino", "digits-8")) == {1000: 50.0, 3000: -150.0}
    assert values(runs, Cell("reached_speedup", "nino", "digits-8")) == {1000: 50.0}


def test_one_of_six_seeds_does_not_beat_six_of_six(tmp_path: Path) -> None:
    hits = {"base": [500.0] * 6, "wnn+": [100.0, *[MISS] * 5], "nino": [400.0] * 6}
    table = study_table(little(SPEEDUP), hit_runs(tmp_path, hits))
    data, text = table.data.set_index("row"), table.text.set_index("")["Speed-up, %"]
    assert data["mean"].tolist()[1:3] == pytest.approx([-70, 20])
    assert data.loc["nino", "best"] and not data.loc["wnn+", "best"]
    assert text["wnn+"].startswith("≤ −70.0 ± 73.5 [") and "(reached 1/6)" in text["wnn+"]
    assert text["nino"] == "20.0 ± 0.0 [20.0, 20.0]"
    assert (data.loc["wnn+", "run"], data.loc["wnn+", "reached"]) == (6, 1)


def test_a_cell_says_why_it_has_no_value(tmp_path: Path) -> None:
    steps = {"title": "Steps", "measure": "steps"}
    runs = hit_runs(tmp_path / "a", {"base": [400, 400], "wnn+": [NAN, NAN], "nino": [MISS, MISS]})
    assert study_table(little(SPEEDUP, steps), runs).text.to_numpy()[:, 1:].tolist() == [
        ["–", "400.0 ± 0.0 (400.0 to 400.0)"],
        ["missing", "missing"],
        ["≤ −150.0 ± 0.0 (−150.0 to −150.0, reached 0/2)", "> 1000.0 ± 0.0 (1000.0 to 1000.0, reached 0/2)"],
        ["missing", "missing"],
    ]
    runs = hit_runs(tmp_path / "b", {"base": [MISS, MISS], "nino": [200, 200]})
    assert study_table(little(SPEEDUP), runs).text["Speed-up, %"].tolist() == [
        "–",
        "missing",
        "≥ 80.0 ± 0.0 (80.0 to 80.0)",
        "missing",
    ]
    other = replace(runs.spec.tasks[0], id="pydoc-2-16")
    partly = replace(runs.spec, tasks=(*runs.spec.tasks, other), only={"nino": ("pydoc-2-16",)})
    assert measure(replace(runs, spec=partly), Cell("speedup", "nino", "digits-8")).gap == "n/a"


def test_failing_on_a_hard_task_does_not_improve_the_mean(tmp_path: Path) -> None:
    easy, hard = make_task("easy", value=90.0), make_task("hard", value=90.0)
    spec = ReportSpec("x", (easy, hard), METHODS[:1] + METHODS[5:], (1000, 2000), resamples=50)
    steps = np.arange(10, 1001, 10)
    hits = {"base": (500, 800), "wnn+": (250, MISS), "nino": (250, 700)}  # WNN+ fails where NiNo gains little
    for key in read_keys(spec):
        hit = hits[key.method][key.task == "hard"]
        write_run(tmp_path, key, spec.task(key.task), steps, np.where(steps >= hit, 95.0, 50.0))
    runs = read_runs(tmp_path, spec)
    column = {"title": "Mean", "measure": "mean_speedup", "better": "higher"}
    rows = [{"title": name, "method": name} for name in ("wnn+", "nino")]
    table = study_table(build("x", {"title": "x", "columns": [column], "rows": rows}), runs)
    data = table.data.set_index("row")
    assert data.loc["nino", "mean"] == pytest.approx((50 + 12.5) / 2) and data.loc["nino", "best"]
    assert data.loc["wnn+", "mean"] == pytest.approx((50 - 25) / 2), "a miss counts with the 1000 steps of the budget"
    assert "reached 2/4)" in table.text["Mean"][0] and data.loc["wnn+", "tasks"] == 2
    hard_runs = tmp_path / "evaluate" / "hard" / "wnn+"
    shutil.rmtree(hard_runs)
    again = study_table(build("x", {"title": "x", "columns": [column], "rows": rows}), read_runs(tmp_path, spec))
    assert "1 of 2 tasks, n = 2)" in again.text["Mean"][0] and again.data.set_index("row").loc["nino", "best"]


def test_published_values_stand_beside_their_own_target_only(runs: Runs) -> None:
    column = SPEEDUP | {"published": ["speedup", "nino", "fm-16"], "task": "fm-16"}
    wanted = build("x", {"title": "x", "columns": [column], "rows": [{"title": "nino", "method": "nino"}]})
    for target, expected in ((85.0, True), (89.5, False)):
        spec = replace(runs.spec, tasks=(make_task("fm-16", value=target),))
        assert study_table(wanted, replace(runs, spec=spec)).data.published.isna().all() == expected


def test_rows_and_columns_are_those_of_the_run(runs: Runs) -> None:
    wanted = study("topology", runs.spec)
    assert wanted.rows == ("identity", "random", "oracle", "linear", "WNN+", "NiNo")
    assert wanted.columns[:2] == ("digits-8, speed-up, %", "pydoc-2-16, speed-up, %")
    others = {(c.mine.cell.task, c.other.cell.method) for c in wanted.contrasts if c.other}
    assert others == {("digits-8", "identity"), ("pydoc-2-16", "identity")}
    assert study("base-optimizers", runs.spec).rows == ("digits-8, adam", "pydoc-2-16, adam")
    assert len(study("spikes", runs.spec).rows) == 12


def test_the_times_of_a_method_are_those_of_its_options(runs: Runs) -> None:
    options = {"period": 50, "spacing": 5, "max_horizon": 10}
    spec = replace(runs.spec, methods=(METHODS[0], replace(METHODS[6], options=options), METHODS[5]))
    table = study_table(study("time", spec), replace(runs, spec=spec))
    assert table.text.iloc[0, 1:4].tolist() == ["50", "5", "50"]
    assert table.text.iloc[1, 1:4].tolist() == ["100", "20", "800"]
    assert len(table.findings) == 2 and "difference from NiNo: WNN+" in table.findings[0]


def test_the_states_that_a_method_reads_are_those_of_its_options(runs: Runs) -> None:
    options = {"context": 10, "spacing": 2}
    spec = replace(runs.spec, methods=(METHODS[0], METHODS[5], replace(METHODS[6], options=options)))
    table = study_table(study("context", spec), replace(runs, spec=spec))
    assert table.text.iloc[:, 1:3].to_numpy().tolist() == [["5", "20"], ["10", "2"]]


def test_six_seeds_separate_a_row_from_the_best(tmp_path: Path) -> None:
    hits = {"base": [500.0] * 6, "wnn+": [300.0, 310, 300, 290, 300, 310], "nino": [100.0, 110, 100, 100, 110, 100]}
    data = study_table(little(SPEEDUP), hit_runs(tmp_path, hits)).data.set_index("row")
    assert data.loc["wnn+", "separated_from_best"] and data.loc["nino", "best"]


def test_lower_is_better_beside_higher_is_better(runs: Runs) -> None:
    steps = {"title": "Steps", "measure": "steps", "better": "lower", "digits": 0}
    final = {"title": "Final", "measure": "final", "better": "higher"}
    plain = {"title": "Memory", "measure": "peak_gb"}
    table = study_table(little(steps, final, plain), runs)
    finals = table.data[table.data.column == "Final"].reset_index()
    assert (2, "Steps") in table.bold and (int(finals["mean"].idxmax()), "Final") in table.bold
    assert not [cell for cell in table.bold if cell[1] == "Memory"]
    assert best_row([Measured(), Measured()], Cell("steps", better="lower")) is None


def test_unsorted_logs_and_nan_do_not_matter(tmp_path: Path) -> None:
    task = make_task("digits-8")
    spec = ReportSpec(run="x", tasks=(task,), methods=METHODS[:1], seeds=(1000,), resamples=50)
    steps, values = np.array([10, 20, 30]), np.array([20.0, np.nan, 60.0])
    write_run(tmp_path, next(iter(read_keys(spec))), task, steps, values, status="diverged", reason="loss is nan")
    runs = read_runs(tmp_path, spec)
    key = next(iter(runs.logs))
    log = (key.folder(tmp_path) / "log.csv").read_text().splitlines()
    (key.folder(tmp_path) / "log.csv").write_text("\n".join([log[0], *reversed(log[1:])]) + "\n")
    again = read_runs(tmp_path, spec)
    cell = Cell("value_at", "base", "digits-8", step=30)
    assert measure(runs, cell).mean == measure(again, cell).mean == 60.0


def read_keys(spec: ReportSpec):  # type: ignore[no-untyped-def]
    from nino.report.runs import Key

    return [Key(task.id, method.name, seed) for task in spec.tasks for method in spec.methods for seed in spec.seeds]


def test_files_of_a_study(complete: Path, spec: ReportSpec, tmp_path: Path) -> None:
    few = replace(spec, resamples=50, notes={"digits-8": "small."})
    table = write_study("learning-rates", complete, few, tmp_path)
    for kind in ("csv", "md", "tex", "html"):
        assert (tmp_path / "tables" / f"learning-rates.{kind}").exists()
    assert "31.85" in (tmp_path / "tables" / "learning-rates.tex").read_text()
    assert (tmp_path / "figures" / "learning-rates.svg").exists()
    assert "digits-8: small." in table.notes
    assert all((tmp_path / file).exists() for file in study_files("learning-rates"))
    write_study("vit", complete, few, tmp_path)
    assert not (tmp_path / "figures" / "vit.svg").exists(), "a study without numbers on its rows has no figure"
    with pytest.raises(ValueError, match=r"`name` \(='table9'\) is no study; there are acceptance, approximations"):
        write_study("table9", complete, few, tmp_path)


def test_figures_show_only_what_there_is() -> None:
    axes = study_figure(study("learning-rates"), None).axes[0]
    assert len(axes.lines) == 5 and axes.get_xscale() == "log", "the published lines"
    assert len(study_figure(study("hidden-depth"), None).axes[0].lines) == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"colums": []}, "study x: unknown key 'colums'"),
        ({"rows": [{"title": "a", "each": []}]}, "row a: `each` has 0 entries for 1 columns"),
        ({"rows": [{"title": "a", "methd": "b"}]}, "unknown key 'methd'"),
    ],
)
def test_slips_in_a_study_are_named(change: dict[str, object], says: str) -> None:
    entry = {"title": "x", "columns": [{"title": "c", "measure": "final"}], "rows": []} | change
    with pytest.raises(ValueError, match=says):
        build("x", entry)


def test_what_nowcasts_add_is_measured_against_the_same_recipe(tmp_path: Path) -> None:
    hits = {"base": [400, MISS, 600], "identity": [200, 300, 250], "wnn+": [100, 150, 200], "nino": [300, 500, 480]}
    runs = hit_runs(tmp_path, hits)
    tuned = MethodRecipe(lr=0.01)
    methods = (
        METHODS[0],
        MethodSpec("identity", "none", label="Adam, tuned", recipe=tuned),
        replace(METHODS[5], label="NiNo, tuned", recipe=tuned),
        replace(METHODS[6], recipe=MethodRecipe(lr=3e-3)),  # in other words the task's
    )
    spec = replace(runs.spec, methods=methods)
    assert [spec.without_nowcasts("digits-8", name) for name in spec.row_order] == [None, None, "identity", "base"]
    table = study_table(study("recipes", spec), replace(runs, spec=spec))
    rows = table.text.set_index("")
    assert list(rows.index) == ["digits-8, NiNo, tuned", "digits-8, NiNo"]
    assert rows["Saved, %"].tolist() == ["40.0 ± 17.3 (20.0 to 50.0)", "≥ 36.0 ± 16.1 (20.0 to 50.0)"]
    assert rows["Without nowcasts, steps"].tolist() == ["250 ± 50 (200 to 300)", "> 667 ± 306 (400 to 1000)"]
    assert "Saved, %: digits-8, NiNo, tuned +40.0 (20.0 to 50.0)" in table.findings[0]
    assert "≥ +36.0" in table.findings[0]
    alone = replace(spec, methods=(*methods[:3], replace(METHODS[6], recipe=MethodRecipe(lr=0.5))))
    cell = study_table(study("recipes", alone), replace(runs, spec=alone)).text.set_index("").loc["digits-8, NiNo"]
    assert cell.tolist() == ["–", "427 ± 110 (300 to 500)", "–"], "no row trains by its recipe without nowcasts"
