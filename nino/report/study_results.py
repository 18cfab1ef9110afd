"""The results of a study: its table, with published values next to measured ones, and its figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nino.drawing import save, styled
from nino.report.build import write_caption
from nino.report.captions import plan_notes
from nino.report.cells import MEAN_SPEEDUP, STEPS, TO_TARGET, Measured, measure
from nino.report.columns import Column, flat, lay_out
from nino.report.findings import difference, findings
from nino.report.formats import EMPTY, between_text, mean_std, number
from nino.report.measures import Cell
from nino.report.origins import made_otherwise
from nino.report.published import Published, beside, published
from nino.report.rendering import Table
from nino.report.runs import Runs, read_some_runs
from nino.report.statistics import RANGE_SEEDS, holm, separates
from nino.report.studies import Study
from nino.report.studies import study as find_study
from nino.report.study_figure import study_figure
from nino.specs import ReportSpec


def study_table(study: Study, runs: Runs | None) -> Table:
    """Measured values next to published ones, with the difference in half-widths of the interval.

    Args:
        study: what the cells show.
        runs: the runs of a results folder; None where there are none: every measured cell is missing then.
    """
    measured = {cell: measure(runs, cell) for row in study.cells for cell in row}
    rows: list[dict[str, Any]] = [{"title": title, "cells": []} for title in study.rows]
    for j, title in enumerate(study.columns):
        cells = [row[j] for row in study.cells]
        values = [measured[cell] for cell in cells]
        best = best_row(values, cells[0]) if cells else None
        apart = separated(runs, cells, values, best) if runs and best is not None else [None] * len(cells)
        for i, row in enumerate(rows):
            named = {"row": row["title"], "column": title}
            row["cells"].append(named | _cell_row(runs, cells[i], values[i], i == best, apart[i]))
    level = runs.spec.confidence if runs else 0.95
    return lay_out(
        study.name,
        study.title,
        [
            Column("", lambda row: str(row["title"])),
            *(c for j in range(len(study.columns)) for c in _columns(study, j)),
        ],
        rows,
        data=[row["cells"][j] for j in range(len(study.columns)) for row in rows],
        hidden=("text", "published_text"),
        notes=(*study.notes, *_notes(runs, level), *((*made_otherwise(runs), *plan_notes(runs.spec)) if runs else ())),
        findings=findings(study, runs, measured),
    )


def write_study(name: str, results: Path, spec: ReportSpec, folder: Path) -> Table:
    """Read a run's logs and write a study's table, and its figure where it has one.

    Args:
        name: of the study.
        results: the run's directory, ``results/<run>``.
        spec: what belongs to the report.
        folder: where ``tables/<name>.*`` and ``figures/<name>.*`` are written.

    Returns:
        The table.

    Raises:
        ValueError: for an unknown study.
        CorruptRunError: where a run's files are damaged.
    """
    study = find_study(name, spec)
    runs = read_some_runs(results, spec)
    table = study_table(study, runs)
    table.write(folder / "tables")
    write_caption(folder / "tables", name, table.findings)
    if study.x_title:
        with styled():
            save(study_figure(study, runs), folder / "figures" / name)
        write_caption(folder / "figures", name, (*table.findings, *spec.remarks()))
    return table


def best_row(cells: list[Measured], cell: Cell) -> int | None:
    """The best row of a column: the best mean of those with the most tasks and the most seeds, misses at the budget.

    A row of fewer tasks or seeds is not ranked: its mean is of another subset.

    Args:
        cells: measured ones of the column.
        cell: what they measure.

    Returns:
        Its position; None if the column ranks nothing or has no value.

    >>> few, all_of_them = Measured(6, 1, tasks=1, seeds=1, mean=90.0), Measured(6, 6, tasks=1, seeds=6, mean=40.0)
    >>> best_row([few, Measured(), all_of_them], Cell("speedup", better="higher"))
    2
    """
    rows = [i for i, value in enumerate(cells) if value.seeds and np.isfinite(value.mean)]
    if cell.measure in TO_TARGET:
        rows = [i for i in rows if cells[i].reached]
    if not cell.better or not rows:
        return None
    sign = 1 if cell.better == "higher" else -1
    return max(rows, key=lambda i: (cells[i].tasks, cells[i].seeds, sign * cells[i].mean))


def separated(runs: Runs, cells: list[Cell], values: list[Measured], best: int) -> list[bool | None]:
    """Whether the paired test separates each cell of a column from the best one; None without a pair.

    P-values are corrected for the column's comparisons (Holm).
    """
    p_values = []
    for i, (cell, value) in enumerate(zip(cells, values, strict=True)):
        between = difference(runs, cell, cells[best]) if i != best and not value.gap else None
        p_values.append(between.p_value if between else float("nan"))
    return [separates(runs.spec, p) for p in holm(p_values)]


def published_for(runs: Runs | None, cell: Cell) -> Published | None:
    """The published value beside a cell; None where the runs' task has another target than the published one."""
    target = published("targets", cell.task)
    task = next((task for task in runs.spec.tasks if task.id == cell.task), None) if runs else None
    if target is not None and task is not None and target.value != task.target.value:
        return None
    return cell.source()


def _columns(study: Study, j: int) -> tuple[Column, Column]:
    """The measured values of a study's column, and the published ones beside them."""
    return (
        Column(study.columns[j], lambda row: row["cells"][j]["text"], bold=lambda row: row["cells"][j]["best"]),
        # titles must differ, though they all look the same
        Column("Published" + " " * j, lambda row: row["cells"][j]["published_text"], optional=True),
    )


def _cell_row(runs: Runs | None, cell: Cell, value: Measured, best: bool, separate: bool | None) -> dict[str, Any]:
    """A cell as a row of the CSV file, with the texts that the table shows."""
    source = published_for(runs, cell)
    points, half_widths = beside(source, value.mean, value.interval.half_width)
    in_half_widths = f" ({number(half_widths, 1)})" if np.isfinite(half_widths) else ""
    return {
        "task": cell.task,
        "method": cell.method,
        "measure": cell.measure,
        **flat(value),
        "best": best,
        "separated_from_best": separate,
        "published": source.value if source else np.nan,
        "published_source": " ".join(source.sources) if source else None,
        "difference": points,
        "difference_half_widths": half_widths,
        "text": _text(runs, cell, value) + (" ‡" if separate is False and not best else ""),
        "published_text": f"{number(source.value, cell.digits)}{in_half_widths}" if source else EMPTY,
    }


def _text(runs: Runs | None, cell: Cell, value: Measured) -> str:
    """The value with its interval, or the reason why it is missing; then misses, missing tasks and a smaller n."""
    if value.gap:
        return value.gap
    sign = ">" if cell.measure in STEPS and value.bound else value.bound
    shown = f"{sign} " * bool(sign) + mean_std(value.mean, value.std, cell.digits)
    between = between_text(value.interval.low, value.interval.high, value.interval.kind, cell.digits)
    shown += f" {between}" if value.interval.kind == "bootstrap" else ""
    if runs is None or not value.seeds:  # values that follow from the config have neither runs nor seeds
        return shown
    tasks = len(runs.spec.tasks) if cell.measure == MEAN_SPEEDUP else 1
    asides = [between] if value.interval.kind == "range" else []
    if cell.measure in TO_TARGET and value.reached < value.run:
        asides.append(f"reached {value.reached}/{value.run}")
    if value.tasks < tasks:
        asides.append(f"{value.tasks} of {tasks} tasks")
    if value.seeds < tasks * len(runs.spec.seeds):
        asides.append(f"n = {value.seeds}")
    return shown + (f" ({', '.join(asides)})" if asides else "")


def _notes(runs: Runs | None, level: float) -> tuple[str, ...]:
    few = runs is not None and len(runs.spec.seeds) <= RANGE_SEEDS
    between = "then their range" if few else f"in brackets the {100 * level:g} % interval (x to y: a range)"
    seeds = f" (n = {len(runs.spec.seeds)} a task, where a cell does not say otherwise)" if runs else ""
    return (
        f"Mean ± sample standard deviation over seeds{seeds}, {between}. Published: in parentheses the difference of "
        "the measured value in half-widths of its interval.",
        "Steps and speed-ups are of all seeds that were run, a miss counting with the step budget, the least it can "
        "have taken; a speed-up is 1 − mean steps / mean steps of the baseline. reached: in how many of the runs, if "
        "some missed. ≥, ≤: at least, at most that, as the baseline, the method missed; ≈: neither is known.",
        "missing: no such run; n/a: not planned; no pair: no seed that the baseline was run with, too; –: runs without "
        "such a value.",
        "Bold (*): best of a column among those with the most tasks and seeds; ‡ not separated from it (exact paired "
        "permutation test over seeds, corrected for the column's comparisons by Holm).",
    )
