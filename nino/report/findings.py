"""Two sentences on what a study found: paired differences, and how many runs reached the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from nino.report.cells import MEAN_SPEEDUP, Measured, samples
from nino.report.formats import between_text, counted, number
from nino.report.measures import Cell
from nino.report.runs import Runs
from nino.report.statistics import Interval, estimate, generator, holm, paired_p, separates, smallest_n
from nino.report.studies import Contrast, Place, Study

BETWEEN = {
    "bootstrap": "in brackets the {level:g} % bootstrap interval",
    "range": "x to y: range of two or three seeds, no interval",
}


@dataclass(frozen=True)
class Difference:
    """A cell against another, paired by task and seed.

    Args:
        mean: of the differences; over tasks, the mean of the tasks' means.
        interval: of it.
        pairs: n.
        p_value: exact paired permutation test, not corrected for other comparisons.
        bound: of a cell by itself, how it bounds the value without misses.
    """

    mean: float
    interval: Interval
    pairs: int
    p_value: float
    bound: str = ""


def difference(runs: Runs, cell: Cell, other: Cell | None) -> Difference | None:
    """Compare two cells seed by seed; a run that misses its target counts with the step budget.

    Args:
        runs: all runs.
        cell: what is compared.
        other: with what, a cell of the same measure; None compares with zero, as of a speed-up.

    Returns:
        The difference, its seeds weighed as the cell's; None without a pair.
    """
    pairs = samples(runs, cell)
    if other is not None:
        theirs = samples(runs, other)
        if cell.measure != MEAN_SPEEDUP:  # sides of one task each, which may differ: runs are paired by seed
            theirs = dict(zip(pairs, theirs.values(), strict=False))
        pairs = {
            task: frame.assign(value=frame.value - theirs[task].value.reindex(frame.index)).dropna()
            for task, frame in pairs.items()
            if task in theirs
        }
    pairs = {task: frame for task, frame in pairs.items() if len(frame)}
    if not pairs:
        return None
    mean, interval = estimate(runs.spec, pairs)
    joined = np.concatenate([frame.value for frame in pairs.values()])
    return Difference(mean, interval, len(joined), paired_p(joined, np.zeros_like(joined), generator(runs.spec)))


def findings(study: Study, runs: Runs | None, measured: Mapping[Cell, Measured]) -> tuple[str, ...]:
    """State what a study found: the differences that it asks for, and how certain they are.

    Args:
        study: the study.
        runs: what it is made of.
        measured: its cells.

    Returns:
        The sentences; a single one where nothing is measured.
    """
    values = [measured[cell] for row in study.cells for cell in row]
    values = [value for value in values if value.seeds or value.gap]  # not from the config alone
    there = sum(value.seeds > 0 for value in values)
    if runs is None or not there:
        if not any(value.run for value in values):
            return ("Nothing of this has been measured yet.",)
        return ("There are runs, but none has a value for this table.",)
    coverage = "" if there == len(values) else f" ({there} of {len(values)} cells have a value)"
    compared = [
        (contrast, between)
        for contrast in study.contrasts
        if (between := _difference(runs, measured, contrast)) is not None
    ]
    if not compared:
        return (f"No seed has both sides of a comparison{coverage}.",)
    reached = _reached(runs, study, measured)
    bounds = any(measured[place.cell].bound for contrast, _ in compared for place in contrast if place)
    return (f"{_differences(runs, compared, bounds)}{coverage}.", f"{reached}, and {_tests(runs, compared)}.")


def _difference(runs: Runs, measured: Mapping[Cell, Measured], contrast: Contrast) -> Difference | None:
    """Compare the two cells of a contrast; None where one has no run, or neither has a value."""
    sides = [measured[place.cell] for place in contrast if place]
    if not any(side.seeds for side in sides) or not all(side.run for side in sides):
        return None
    between = difference(runs, contrast.mine.cell, contrast.other.cell if contrast.other else None)
    if between is None or contrast.other is not None:
        return between
    return replace(between, bound=measured[contrast.mine.cell].bound)


def _differences(runs: Runs, compared: Sequence[tuple[Contrast, Difference]], bounds: bool) -> str:
    """The first sentence: a clause for each column with all of its rows; n is given once where all share it."""
    sizes = {between.pairs for _, between in compared}
    clauses = []
    for side, group in groupby(compared, key=lambda each: _side(each[0])):
        shown = [_value(contrast.mine, between, alone=len(sizes) == 1) for contrast, between in group]
        clauses.append(f"{side}: {', '.join(shown)}")
    kinds = dict.fromkeys(between.interval.kind for _, between in compared)
    notes = [BETWEEN[kind].format(level=100 * runs.spec.confidence) for kind in kinds if kind != "none"]
    if "none" in kinds:
        notes.append("no interval of single seeds")
    size = [f"n = {next(iter(sizes))}"] if len(sizes) == 1 else []
    notes += ["misses at the budget"] if bounds else []
    return f"{'; '.join(clauses)} ({'; '.join([*size, *notes])})"


def _side(contrast: Contrast) -> str:
    """Name a column and what its values are compared with."""
    mine, other = contrast
    if other is None:
        return mine.column
    if other.column == mine.column:
        return f"{mine.column}, difference from {other.row}"
    return f"{mine.column}, difference from {other.column}" + ("" if mine.row == other.row else f", {other.row}")


def _value(place: Place, between: Difference, alone: bool) -> str:
    digits, interval = place.cell.digits, between.interval
    sign = f"{between.bound} " * bool(between.bound) + "+" * (between.mean > 0)
    shown = f"{place.row} {sign}{number(between.mean, digits)}"
    if interval.kind != "none":
        ends = between_text(interval.low, interval.high, interval.kind, digits)
        shown += f" ({ends})" if interval.kind == "range" else f" {ends}"
    return shown + ("" if alone else f", n = {between.pairs}")


def _reached(runs: Runs, study: Study, measured: Mapping[Cell, Measured]) -> str:
    """State how many of the compared runs reached the target, and which cells fell short of it."""
    places = [place for contrast in study.contrasts for place in contrast if place]
    compared = {(p.cell.task, p.cell.method): (p, measured[p.cell]) for p in places if measured[p.cell].run}
    run = sum(value.run for _, value in compared.values())
    reached = sum(value.reached for _, value in compared.values())
    short = [
        f"{_name(runs, place)} {value.reached}/{value.run}"
        for place, value in compared.values()
        if value.reached < value.run
    ]
    if not short:
        subject = f"All {run} runs that are compared" if run > 1 else "The one run that is compared"
        return f"{subject} reached the target"
    return f"{reached} of the {run} runs that are compared reached the target (short of it: {'; '.join(short)})"


def _name(runs: Runs, place: Place) -> str:
    """Name a cell by its row, method and task, repeating nothing that the row's title holds."""
    parts = (runs.spec.label(place.cell.method), place.cell.task)
    return ", ".join([place.row, *(part for part in parts if part not in place.row)])


def _tests(runs: Runs, compared: Sequence[tuple[Contrast, Difference]]) -> str:
    """State how many differences the paired test separates from zero, and how many seeds it needs."""
    corrected = holm([between.p_value for _, between in compared])
    count = sum(bool(separates(runs.spec, p)) for p in corrected)
    text = f"the exact paired test separates {count} of {counted(len(compared), 'difference')} from none"
    text += " (Holm)" if len(compared) > 1 else ""
    needed = smallest_n(runs.spec.confidence, len(compared))
    if max(between.pairs for _, between in compared) < needed:
        text += f"; it needs n = {needed}"
    return text
