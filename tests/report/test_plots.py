from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nino.drawing import looks, styled
from nino.evaluate.run_folder import LOSS_COLUMNS, write_table
from nino.report.across_tasks import profile
from nino.report.losses_near_nowcasts import losses_sentence, relative_losses
from nino.report.plots import curves_figure, profile_figure, seed_curves, worth_figure
from nino.report.progress import worth_at
from nino.report.runs import Key, Runs, read_runs
from nino.report.spikes_plot import spikes_figure
from nino.specs import ReportSpec, TaskSpec

from .conftest import METHODS, hit_runs, make_task, write_run

NAN, MISS = float("nan"), float("inf")
METHOD_NAMES = ("base", "wnn+", "nino")


@pytest.fixture(autouse=True)
def style() -> Iterator[None]:
    with styled():
        yield


def line(axes: Axes, label: str) -> tuple[np.ndarray, np.ndarray]:
    found = next(item for item in axes.get_lines() if item.get_label() == label)
    return np.asarray(found.get_xdata()), np.asarray(found.get_ydata())


def test_curve_is_the_mean_over_seeds_with_target_and_units(runs: Runs) -> None:
    task = runs.spec.tasks[0]
    axes = curves_figure(runs, task).axes[0]
    logs = [runs.logs[Key(task.id, "nino", seed)] for seed in runs.spec.seeds]
    assert line(axes, "NiNo")[1] == pytest.approx(np.mean([log.test for log in logs], axis=0))
    assert any(np.all(item.get_ydata() == task.target.value) for item in axes.get_lines())
    assert axes.get_ylabel() == "test accuracy, %" and axes.get_xlabel() == "step"
    jumps = [item for item in axes.get_lines() if item.get_marker() == "o"]
    assert {tuple(item.get_xdata()) for item in jumps} >= {tuple(range(100, 1001, 100))}


def test_perplexity_is_drawn_on_a_logarithmic_axis_with_plain_numbers(runs: Runs) -> None:
    figure = curves_figure(runs, runs.spec.tasks[1])
    figure.canvas.draw()
    axes = figure.axes[0]
    assert axes.get_yscale() == "log"
    labels = [text.get_text() for text in axes.get_yticklabels() if text.get_text()]
    assert "20" in labels and not any("^" in label for label in labels)


def test_diverged_and_missing_runs_leave_the_others_drawn(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400, 400], "wnn+": [NAN, NAN], "nino": [200, 200]})
    task = runs.spec.tasks[0]
    values = np.array([50.0, np.inf, NAN])
    key = Key(task.id, "nino", 2000)
    write_run(tmp_path, key, task, np.array([10, 20, 30]), values, status="diverged", reason="nan", best=50.0)
    runs = read_runs(tmp_path, runs.spec)
    assert np.isfinite(seed_curves(runs, task, "nino")[1000]).all()
    figure = curves_figure(runs, task)
    figure.canvas.draw()
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["Adam", "NiNo"]
    for other in (worth_figure(runs, task), spikes_figure(runs, task)):
        other.canvas.draw()


def test_rows_that_a_target_s_checks_add_are_not_drawn(runs: Runs, spec: ReportSpec) -> None:
    checked = replace(spec.tasks[0], evaluation=replace(spec.tasks[0].evaluation, hardest_first=True))
    often = replace(runs, spec=replace(spec, tasks=(checked, *spec.tasks[1:])))
    every = np.diff(seed_curves(runs, spec.tasks[0], "nino").index)
    level = np.diff(seed_curves(often, checked, "nino").index)
    assert (every == 10).all() and (level == 50).all()


def test_nothing_to_draw_is_drawn_as_nothing(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [NAN], "nino": [NAN]})
    task = runs.spec.tasks[0]
    for figure in (curves_figure(runs, task), worth_figure(runs, task), spikes_figure(runs, task)):
        figure.canvas.draw()
    assert "no nowcasts" in [text.get_text() for text in spikes_figure(runs, task).axes[0].texts]


def test_worth_stops_where_the_baseline_never_was(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [MISS, MISS], "nino": [500, 500]})
    steps, worth = line(worth_figure(runs, runs.spec.tasks[0]).axes[0], "NiNo")
    assert steps.max() == 490 and (worth == 10).all()


def test_nowcasts_are_coloured_by_what_they_did(runs: Runs) -> None:
    figure = spikes_figure(runs, runs.spec.tasks[0])
    panel = next(axes for axes in figure.axes if axes.get_title() == "NiNo")
    assert line(panel, "rises")[0].tolist() == [100, 200]
    assert line(panel, "falls")[0].tolist() == list(range(300, 1001, 100))


def test_profile_shows_all_but_the_oracle(runs: Runs) -> None:
    shown = profile(runs, runs.spec.realizable)
    axes = profile_figure(runs, shown).axes[0]
    labels = {item.get_label() for item in axes.get_lines()}
    assert labels == {runs.spec.label(method) for method in runs.spec.realizable}
    assert line(axes, "WNN+")[1] == pytest.approx(100 * shown.rho["wnn+"])
    assert axes.get_title() == "not compared: oracle"


def test_a_control_that_goes_wild_does_not_set_the_axis(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400], "linear": [400], "nino": [200]}, "perplexity")
    task = runs.spec.tasks[0]
    steps = np.arange(10, 1001, 10)
    write_run(tmp_path, Key(task.id, "linear", 1000), task, steps, np.full(100, 1e6))
    assert curves_figure(read_runs(tmp_path, runs.spec), task).axes[0].get_ylim()[1] < 300


def test_spikes_after_nowcasts_do_not_set_the_axis(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400], "nino": [200]})
    task = runs.spec.tasks[0]
    steps = np.arange(10, 1001, 10)
    key = Key(task.id, "nino", 1000)
    spiky = read_runs(tmp_path, runs.spec).nowcasts[key].step
    assert len(spiky) > 3
    write_run(tmp_path, key, task, steps, np.where(np.isin(steps, spiky), 1.0, 90.0))
    assert curves_figure(read_runs(tmp_path, runs.spec), task).axes[0].get_ylim()[0] > 5


def test_losses_of_many_decades_are_drawn_on_a_logarithmic_axis(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400], "nino": [200]})
    path = Key("digits-8", "nino", 1000).folder(tmp_path) / "nowcasts.csv"
    lines = path.read_text().splitlines()
    lines[1] = ",".join([*lines[1].split(",")[:-1], "4000.0"])
    path.write_text("\n".join(lines) + "\n")
    figure = spikes_figure(read_runs(tmp_path, runs.spec), runs.spec.tasks[0])
    assert {axes.get_yscale() for axes in figure.axes} == {"log"}
    figure.canvas.draw()


def test_losses_around_nowcasts_stand_below_where_they_were_recorded(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400, 400], "linear": [300, 300], "nino": [200, 200]})
    task = runs.spec.tasks[0]
    assert len(spikes_figure(runs, task).subfigs) == 0
    for seed, high in ((1000, 6.0), (2000, 10.0)):
        folder = Key(task.id, "nino", seed).folder(tmp_path)
        losses = {-2: 1.0, -1: 3.0, 1: high, 2: 2.0}  # 2 before, 3 and 5 times that after
        rows = [{"step": step, "offset": o, "loss": loss} for step in (100, 200) for o, loss in losses.items()]
        write_table(folder / "around.csv", rows, LOSS_COLUMNS)
        nowcasts = pd.read_csv(folder / "nowcasts.csv")
        nowcasts.loc[nowcasts.step == 200, "accepted"] = 0  # put back: not shown
        nowcasts.to_csv(folder / "nowcasts.csv", index=False)
    write_table(Key(task.id, "linear", 1000).folder(tmp_path) / "around.csv", [], LOSS_COLUMNS)
    runs = read_runs(tmp_path, runs.spec)
    table = relative_losses(runs, task.id, "nino")
    assert table.index.tolist() == [-2, -1, 1, 2]
    assert table[0.5].tolist() == [0.5, 1.5, 4.0, 1.0] and table.loc[1, 0.25] == 3.5
    figure = spikes_figure(runs, task)
    figure.canvas.draw()
    shown = [axes for axes in figure.subfigs[1].axes if axes.get_visible()]
    assert [axes.get_title() for axes in shown] == ["NiNo"]
    assert shown[0].get_lines()[1].get_ydata().tolist() == [4.0, 1.0]
    said = losses_sentence(runs, "nino", task.id)
    assert said is not None and "of NiNo the loss is 4 times" in said and "comes down to 1 after 2 steps" in said
    assert losses_sentence(runs, "linear", task.id) is None


def test_a_diamond_is_open_where_a_seed_missed(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400, MISS], "wnn+": [MISS, MISS], "nino": [200, 300]})
    axes = curves_figure(runs, runs.spec.tasks[0]).axes[0]
    diamonds = {float(item.get_xdata()[0]): item for item in axes.get_lines() if item.get_marker() == "D"}
    assert list(diamonds) == [700.0, 250.0], "a miss counts with the budget; who never met the target has none"
    assert diamonds[700.0].get_markerfacecolor() == "white" != diamonds[250.0].get_markerfacecolor()


def test_many_methods_have_a_panel_and_a_colour_each(tmp_path: Path) -> None:
    task = make_task("digits-8", value=90.0)
    methods = tuple(replace(METHODS[6], name=f"nino-{i}", label=f"number {i}") for i in range(8))
    spec = ReportSpec("many", (task,), (METHODS[0], *methods), (1000,), resamples=10)
    assert len({(look.colour, look.dashes) for look in looks(spec).values()}) == 9
    assert len({look.colour for look in looks(spec).values()}) == 9
    steps = np.arange(10, 1001, 10)
    for method in (METHODS[0], *methods[:7]):
        write_run(tmp_path, Key(task.id, method.name, 1000), task, steps, np.where(steps >= 500, 95.0, 50.0))
    figure = curves_figure(read_runs(tmp_path, spec), task)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in shown] == [f"number {i}" for i in range(7)]
    assert all({"Adam", axes.get_title()} <= {line.get_label() for line in axes.get_lines()} for axes in shown)
    assert figure.get_suptitle() == "digits-8 (nothing to show of number 7); Adam black"


def test_a_control_beyond_all_others_is_cut_off_by_name(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400], "linear": [400], "nino": [200]})
    path = Key("digits-8", "linear", 1000).folder(tmp_path) / "nowcasts.csv"
    nowcasts = pd.read_csv(path)
    nowcasts.loc[0, "loss_after"] = 1e5
    nowcasts.to_csv(path, index=False)
    panels = {axes.get_title(): axes for axes in spikes_figure(read_runs(tmp_path, runs.spec), runs.spec.tasks[0]).axes}
    assert "linear (control): up to 1e+05" in panels and panels["NiNo"].get_ylim()[1] < 5


def test_methods_beyond_the_axis_are_named(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400], "nino": [200], "linear": [500]})
    task = runs.spec.tasks[0]
    write_run(tmp_path, Key(task.id, "linear", 1000), task, np.arange(10, 1001, 10), np.full(100, 10.0))
    runs = read_runs(tmp_path, runs.spec)
    assert curves_figure(runs, task).axes[0].get_title() == "digits-8 (beyond the axis: linear)"
    assert worth_figure(runs, task).axes[0].get_title() == "digits-8"


def test_a_run_that_ended_early_is_worth_no_more_for_it(tmp_path: Path) -> None:
    """Of three seeds one diverges at step 300: it stays at what it was worth, and does not leave the axis upwards."""
    runs = hit_runs(tmp_path, {"base": [900, 900, 900], "nino": [NAN, NAN, NAN]})
    task, steps = runs.spec.tasks[0], np.arange(10, 1001, 10)
    for seed, last in ((1000, 300), (2000, 1000), (3000, 1000)):
        values = np.where(steps < 600, 50.0, 95.0) if seed == 2000 else np.full(100, 50.0)
        key, ended = Key(task.id, "nino", seed), steps <= last
        done = {"status": "done"} if last == 1000 else {"status": "diverged", "reason": "nan"}
        write_run(tmp_path, key, task, steps[ended], values[ended], **done)
    runs = read_runs(tmp_path, runs.spec)
    drawn = line(worth_figure(runs, task).axes[0], "NiNo")[1]
    assert drawn[-1] == worth_at(runs, task, "nino", 1000) == 10.0


@pytest.mark.parametrize("draw", [worth_figure, lambda runs, task: profile_figure(runs, profile(runs, METHOD_NAMES))])
def test_more_methods_than_can_be_told_apart_have_a_panel_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draw: Callable[[Runs, TaskSpec], Figure]
) -> None:
    runs = hit_runs(tmp_path, {"base": [400], "wnn+": [300], "nino": [200]})
    assert len(draw(runs, runs.spec.tasks[0]).axes) == 1
    monkeypatch.setattr("nino.report.plots.MOST_CURVES", 1)
    figure = draw(runs, runs.spec.tasks[0])
    assert [axes.get_title() for axes in figure.axes if axes.get_visible()] == ["WNN+", "NiNo"]
    assert figure.get_suptitle().endswith("Adam black")


def test_methods_without_a_record_of_the_steps_around_are_named(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400], "wnn+": [300], "nino": [200]})
    task, folder = runs.spec.tasks[0], Key("digits-8", "nino", 1000).folder(tmp_path)
    rows = [{"step": 100, "offset": offset, "loss": 1.0} for offset in (-1, 1)]
    write_table(folder / "around.csv", rows, LOSS_COLUMNS)
    figure = spikes_figure(read_runs(tmp_path, runs.spec), task)
    assert figure.subfigs[1].get_suptitle() == "no losses of these steps were recorded of WNN+"
    assert len([axes for axes in figure.subfigs[1].axes if axes.get_visible()]) == 1
