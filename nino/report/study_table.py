"""A study's table, each measured value next to the published one, and its figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nino.report.build import write_caption
from nino.report.captions import plan_notes, smallest_n
from nino.report.contrasts import difference, findings, separates
from nino.report.drawing import COLUMN, legend_below, new_figure, save, styled
from nino.report.measures import MEAN_SPEEDUP, NOT_REACHED, TO_TARGET, Measured, measure
from nino.report.published import Published, published
from nino.report.runs import Runs, read_runs
from nino.report.studies import Cell, Study, study
from nino.report.table import EMPTY, Table, mean_std, number, text_frame
from nino.report.tables import interval_text
from nino.specs import ReportSpec

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")  # told apart by colour-blind readers


def study_table(wanted: Study, runs: Runs | None) -> Table:
    """Measured values, published values beside them, and the difference in half-widths of the interval.

    Args:
        wanted: what the cells show.
        runs: the runs of a results folder; None where there are none: every measured cell is missing then.
    """
    measured = [[measure(runs, cell) for cell in row] for row in wanted.cells]
    level = runs.spec.confidence if runs else 0.95
    rows: list[dict[str, Any]] = []
    text: list[dict[str, str]] = [{"": title} for title in wanted.rows]
    bold = set()
    beside = []
    for j, title in enumerate(wanted.columns):
        column = [row[j] for row in wanted.cells]
        best = best_row([row[j] for row in measured], column[0]) if column else None
        beside.append("Published" + " " * j)  # a title each, though they all read the same
        for i, row in enumerate(wanted.rows):
            cell, value = column[i], measured[i][j]
            joined: bool | None = None
            if runs is not None and best is not None and value.gap in ("", NOT_REACHED):
                joined = separated(runs, cell, column[best])
            rows.append(_data(row, title, cell, value, published_for(runs, cell), i == best, joined))
            text[i][title] = _text(runs, cell, value) + (" ‡" if joined is False and i != best else "")
            text[i][beside[-1]] = _published_text(cell, rows[-1])
            if i == best:
                bold.add((i, title))
    return Table(
        name=wanted.name,
        title=wanted.title,
        data=pd.DataFrame(rows),
        text=text_frame(text, optional=beside),
        bold=frozenset(bold),
        notes=(*wanted.notes, *_notes(runs, level), *(plan_notes(runs.spec) if runs else ())),
        found=findings(wanted, runs, measured),
    )


def write_study(name: str, results: Path, spec: ReportSpec, folder: Path) -> Table:
    """Read a run's logs and write a study's table, and its figure where it has one.

    Args:
        name: of the wanted.
        results: the run's directory, ``results/<run>``.
        spec: what belongs to the report.
        folder: where ``tables/<name>.*`` and ``figures/<name>.*`` are written.

    Returns:
        The table.

    Raises:
        ValueError: for an unknown wanted.
        CorruptRunError: where a run's files are damaged.
    """
    wanted = study(name, spec)
    runs = read_runs(results, spec)
    table = study_table(wanted, runs)
    table.write(folder / "tables")
    write_caption(folder / "tables", name, table.found)
    if wanted.x_title:
        with styled():
            save(study_figure(wanted, runs), folder / "figures" / name)
        write_caption(folder / "figures", name, (*table.found, *spec.remarks()))
    return table


def best_row(cells: list[Measured], cell: Cell) -> int | None:
    """The best row of a column: means over the most tasks, then the largest share reached, then the best mean.

    Args:
        cells: measured ones of the column.
        cell: what they measure.

    Returns:
        Its position; None where nothing is meant to be better, or nothing is there.

    >>> few, all_of_them = Measured(90.0, seeds=1, run=6, reached=1), Measured(40.0, seeds=6, run=6, reached=6)
    >>> best_row([few, Measured(), all_of_them], Cell("speedup", better="higher"))
    2
    """
    known = [i for i, value in enumerate(cells) if value.seeds and np.isfinite(value.mean)]
    if not cell.better or not known:
        return None
    sign = 1 if cell.better == "higher" else -1
    return max(known, key=lambda i: (cells[i].tasks, cells[i].share(cell.measure), sign * cells[i].mean))


def separated(runs: Runs, cell: Cell, other: Cell) -> bool | None:
    """Whether the paired test separates two cells; None without a pair."""
    found = difference(runs, cell, other)
    return None if found is None else separates(runs, found)


def published_for(runs: Runs | None, cell: Cell) -> Published | None:
    """The published value beside a cell; None where the runs' task has another target than the published one."""
    target = published("targets", cell.task)
    task = next((task for task in runs.spec.tasks if task.id == cell.task), None) if runs else None
    if target is not None and task is not None and target.value != task.target.value:
        return None
    return cell.source()


def study_figure(wanted: Study, runs: Runs | None) -> Figure:
    """A line a column over the rows' numbers: measured (filled, with its interval) and published (open)."""
    figure = new_figure(COLUMN, 3.0)
    axes = figure.add_subplot()
    for j, (title, colour) in enumerate(zip(wanted.columns, COLOURS, strict=False)):
        points = sorted((x, i) for i, x in enumerate(positions(wanted, runs)) if x is not None)
        known = [(x, measure(runs, wanted.cells[i][j])) for x, i in points]
        known = [(x, value) for x, value in known if value.seeds]
        if known:
            xs, means = [x for x, _ in known], [value.mean for _, value in known]
            spread = np.array([[v.mean - v.interval.low, v.interval.high - v.mean] for _, v in known]).T
            axes.errorbar(xs, means, np.nan_to_num(spread), fmt="o-", color=colour, capsize=2, label=title)
        sources = [(x, source.value) for x, i in points if (source := wanted.cells[i][j].source())]
        if sources:
            label = f"{title}, published"
            axes.plot(*zip(*sources, strict=True), "o:", color=colour, mfc="white", linewidth=0.8, label=label)
    if wanted.x_log:
        axes.set_xscale("log")
    axes.set(xlabel=wanted.x_title, ylabel="metric" if len({t[-1] for t in wanted.columns}) > 1 else wanted.columns[0])
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        legend_below(figure, handles, labels, most=2, fontsize=6)
    return figure


def positions(wanted: Study, runs: Runs | None) -> list[float | None]:
    """The rows' numbers: as the runs of their tasks measured them, where the study wants that, else its own."""
    found: list[float | None] = [None if x is None else float(x) for x in wanted.x]
    if runs is not None and wanted.x_measured:
        for i, row in enumerate(wanted.cells):
            known = runs.frame.loc[runs.frame.task == row[0].task, wanted.x_measured].dropna()
            found[i] = float(known.iloc[0]) if len(known) else found[i]
    return found


def _data(
    row: str, column: str, cell: Cell, value: Measured, source: Published | None, best: bool, separate: bool | None
) -> dict[str, Any]:
    difference = value.mean - source.value if source else np.nan
    half = value.interval.half_width
    return {
        "row": row,
        "column": column,
        "task": cell.task,
        "method": cell.method,
        "measure": cell.measure,
        "run": value.run,
        "reached": value.reached,
        "tasks": value.tasks,
        "seeds": value.seeds,
        "gap": value.gap,
        "mean": value.mean,
        "std": value.std,
        "interval_low": value.interval.low,
        "interval_high": value.interval.high,
        "interval_kind": value.interval.kind,
        "best": best,
        "separated_from_best": separate,
        "published": source.value if source else np.nan,
        "published_source": " ".join(source.sources) if source else None,
        "difference": difference,
        "difference_half_widths": difference / half if half > 0 else np.nan,
    }


def _text(runs: Runs | None, cell: Cell, value: Measured) -> str:
    """The value with its interval, or why there is none; then what the reader would not expect: misses, gaps, n."""
    if value.gap:
        return f"{value.gap} (0/{value.run})" if value.gap == NOT_REACHED else value.gap
    shown = mean_std(value.mean, value.std, cell.digits)
    if value.interval.kind != "none":
        shown += f" {interval_text(value.interval, cell.digits)}"
    if runs is None or not value.seeds:  # what the plan says has neither runs nor seeds
        return shown
    tasks = len(runs.spec.tasks) if cell.measure == MEAN_SPEEDUP else 1
    asides = []
    if cell.measure in TO_TARGET and value.reached < value.run:
        asides.append(f"reached {value.reached}/{value.run}")
    if value.tasks < tasks:
        asides.append(f"{value.tasks} of {tasks} tasks")
    if value.seeds < tasks * len(runs.spec.seeds):
        asides.append(f"n = {value.seeds}")
    return shown + (f" ({', '.join(asides)})" if asides else "")


def _published_text(cell: Cell, data: dict[str, Any]) -> str:
    if np.isnan(data["published"]):
        return EMPTY
    shown = number(data["published"], cell.digits)
    if np.isfinite(data["difference_half_widths"]):
        return f"{shown} ({number(data['difference_half_widths'], 1)})"
    return shown


def _notes(runs: Runs | None, level: float) -> tuple[str, ...]:
    seeds = f" (n = {len(runs.spec.seeds)} a task, where a cell does not say otherwise)" if runs else ""
    return (
        f"Mean ± sample standard deviation over seeds{seeds}, {100 * level:g} % interval in brackets, which of two or "
        "three seeds is their range. Published: in parentheses the difference of the measured value in half-widths of "
        "its interval.",
        "Steps and speed-ups are of the seeds that reached the target; reached: in how many of the runs. In a mean "
        "speed-up over tasks, and wherever cells are compared, a miss counts with the step budget, the least it can "
        "have taken; seeds that the baseline misses have no speed-up.",
        "missing: no such run; n/a: not planned; not reached: in no run; no pair: in no seed that the baseline reached "
        "the target with; –: runs without such a value.",
        "Bold (*): best of a column, by the share of runs that reached the target, then by the mean; ‡ not separated "
        f"from it (exact paired permutation test over seeds, which needs {smallest_n(level)} seeds).",
    )
