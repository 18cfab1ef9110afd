"""A study's table, each measured value next to the published one, and its figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nino.report.build import write_caption
from nino.report.captions import plan_notes, smallest_n
from nino.report.drawing import COLUMN, new_figure, save, styled
from nino.report.measures import Measured, measure
from nino.report.runs import Runs, read_runs
from nino.report.spec import ReportSpec
from nino.report.statistics import generator, paired_p
from nino.report.studies import Cell, Study, study
from nino.report.table import EMPTY, Table, mean_std, number, text_frame
from nino.report.tables import interval_text

MISSING = "missing"
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
    published = []
    for j, title in enumerate(wanted.columns):
        best = best_row([row[j] for row in measured], wanted.cells[0][j].better)
        published.append("Published" + " " * j)  # a title each, though they all read the same
        for i, row in enumerate(wanted.rows):
            cell, value = wanted.cells[i][j], measured[i][j]
            joined = None if runs is None or best is None else separated(runs, value, measured[best][j])
            rows.append(_data(row, title, cell, value, i == best, joined))
            text[i][title] = _text(cell, value) + (" ‡" if joined is False and i != best else "")
            text[i][published[-1]] = _published_text(cell, rows[-1])
            if i == best:
                bold.add((i, title))
    return Table(
        name=wanted.name,
        title=wanted.title,
        data=pd.DataFrame(rows),
        text=text_frame(text, optional=published),
        bold=frozenset(bold),
        notes=(*wanted.notes, *_notes(level), *(plan_notes(runs.spec) if runs else ())),
        found=(_found(measured),),
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
    wanted = study(name, (method.name for method in spec.methods))
    runs = read_runs(results, spec)
    table = study_table(wanted, runs)
    table.write(folder / "tables")
    write_caption(folder / "tables", name, table.found)
    if wanted.x_title:
        with styled():
            save(study_figure(wanted, runs), folder / "figures" / name)
        write_caption(folder / "figures", name, (*table.found, *spec.remarks()))
    return table


def best_row(cells: list[Measured], better: str) -> int | None:
    """The row with the best mean of a column; None where nothing is meant to be better, or nothing is there.

    >>> best_row([Measured(3.0, seeds=1), Measured(), Measured(2.0, seeds=1)], "lower")
    2
    """
    known = [i for i, cell in enumerate(cells) if cell.seeds and np.isfinite(cell.mean)]
    if not better or not known:
        return None
    return (max if better == "higher" else min)(known, key=lambda i: cells[i].mean)


def separated(runs: Runs, one: Measured, other: Measured) -> bool | None:
    """Whether the paired test separates two cells; None without a seed that both have a value of."""
    seeds = sorted(set(one.values) & set(other.values))
    if not seeds:
        return None
    mine, best = (np.array([cell.values[seed] for seed in seeds]) for cell in (one, other))
    return bool(paired_p(mine, best, generator(runs)) <= 1 - runs.spec.confidence + 1e-12)


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
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower center", ncols=2, fontsize=6)
    return figure


def positions(wanted: Study, runs: Runs | None) -> list[float | None]:
    """The rows' numbers: as the runs of their tasks measured them, where the study wants that, else its own."""
    found: list[float | None] = [None if x is None else float(x) for x in wanted.x]
    if runs is not None and wanted.x_measured:
        for i, row in enumerate(wanted.cells):
            known = runs.frame.loc[runs.frame.task == row[0].task, wanted.x_measured].dropna()
            found[i] = float(known.iloc[0]) if len(known) else found[i]
    return found


def _data(row: str, column: str, cell: Cell, value: Measured, best: bool, separate: bool | None) -> dict[str, Any]:
    source = cell.source()
    difference = value.mean - source.value if source else np.nan
    half = value.interval.half_width
    return {
        "row": row,
        "column": column,
        "task": cell.task,
        "method": cell.method,
        "measure": cell.measure,
        "seeds": value.seeds,
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


def _text(cell: Cell, value: Measured) -> str:
    if not value.seeds:
        return MISSING
    interval = f" {interval_text(value.interval, cell.digits)}" if value.interval.kind != "none" else ""
    return mean_std(value.mean, value.std, cell.digits) + interval


def _published_text(cell: Cell, data: dict[str, Any]) -> str:
    if np.isnan(data["published"]):
        return EMPTY
    shown = number(data["published"], cell.digits)
    if np.isfinite(data["difference_half_widths"]):
        return f"{shown} ({number(data['difference_half_widths'], 1)})"
    return shown


def _notes(level: float) -> tuple[str, ...]:
    return (
        f"Mean ± sample standard deviation over seeds, {100 * level:g} % interval in brackets; missing: no such "
        "run. Published: in parentheses the difference of the measured value in half-widths of its interval.",
        f"Bold (*): best of a column; ‡ not separated from it (exact paired permutation test over seeds, which needs "
        f"{smallest_n(level)} seeds).",
    )


def _found(measured: list[list[Measured]]) -> str:
    cells = [value for row in measured for value in row]
    there = sum(value.seeds > 0 for value in cells)
    return "Nothing of this has been measured yet." if not there else f"{there} of {len(cells)} cells are measured."
