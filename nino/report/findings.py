"""What a study found, in two sentences from its numbers: paired differences with intervals, who reached the target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from nino.report.captions import smallest_n
from nino.report.cells import MEAN_SPEEDUP, NOT_REACHED, Measured, bounded, mean_over_tasks
from nino.report.formats import counted, interval_text, number
from nino.report.measures import Cell
from nino.report.runs import Runs
from nino.report.statistics import Interval, generator, paired_p, separates
from nino.report.studies import Contrast, Study

BRACKETS = {
    "bootstrap": "{level:g} % bootstrap interval",
    "range": "range of two or three seeds, no {level:g} % interval",
}


@dataclass(frozen=True)
class Difference:
    """A cell against another, paired by task and seed.

    Args:
        mean: of the differences; over tasks, the mean of the tasks' means.
        interval: of it.
        pairs: n.
        p_value: exact paired permutation test.
    """

    mean: float
    interval: Interval
    pairs: int
    p_value: float


def difference(runs: Runs, cell: Cell, other: Cell | None) -> Difference | None:
    """How a cell differs from another; misses of a target count with the step budget, as in the permutation test.

    Args:
        runs: all runs.
        cell: what is compared.
        other: with what, a cell of the same measure; None compares with zero, as of a speed-up.

    Returns:
        The difference; None without a pair.
    """
    mine = bounded(runs, cell)
    if other is None:
        pairs = mine
    else:
        theirs = bounded(runs, other)
        if cell.measure != MEAN_SPEEDUP:  # one task each, perhaps another one: the seed pairs them
            theirs = dict(zip(mine, theirs.values(), strict=False))
        pairs = {
            task: {seed: value - theirs[task][seed] for seed, value in values.items() if seed in theirs[task]}
            for task, values in mine.items()
            if task in theirs
        }
    pairs = {task: values for task, values in pairs.items() if values}
    if not pairs:
        return None
    mean, interval = mean_over_tasks(runs, pairs)
    joined = np.array([value for values in pairs.values() for value in values.values()])
    return Difference(mean, interval, len(joined), paired_p(joined, np.zeros_like(joined), generator(runs)))


def findings(wanted: Study, runs: Runs | None, measured: Sequence[Sequence[Measured]]) -> tuple[str, ...]:
    """Two sentences on what a study found: its contrasts, and how sure they are.

    Args:
        wanted: the study.
        runs: what it is made of.
        measured: its cells.

    Returns:
        The sentences; a single one where nothing is measured.
    """
    cells = [value for row in measured for value in row if value.seeds or value.gap]  # what the plan says is no finding
    there = sum(value.seeds > 0 for value in cells)
    if runs is None or not there:
        if not any(value.run for value in cells):
            return ("Nothing of this has been measured yet.",)
        missed = any(value.gap == NOT_REACHED for value in cells)
        return (f"There are runs, but none {'reached the target' if missed else 'has a value for this table'}.",)
    coverage = "" if there == len(cells) else f" ({there} of {len(cells)} cells have a value)"
    found = [(each, _difference(wanted, runs, measured, each)) for each in wanted.contrasts]
    known = [(each, value) for each, value in found if value is not None]
    if not known:
        return (f"No seed has both sides of a comparison{coverage}.", _reached(wanted, runs, measured) + ".")
    return (
        f"{_differences(wanted, runs, known)}{coverage}.",
        f"{_reached(wanted, runs, measured)}, and {_tests(runs, known)}.",
    )


def _difference(
    wanted: Study, runs: Runs, measured: Sequence[Sequence[Measured]], contrast: Contrast
) -> Difference | None:
    """Of two cells that both have a value, or never reached the target and count with the budget."""
    (i, j), other = contrast.mine, contrast.other
    sides = [measured[i][j]] + ([] if other is None else [measured[other[0]][other[1]]])
    if not any(side.seeds for side in sides) or not all(side.run for side in sides):
        return None
    return difference(runs, wanted.cells[i][j], None if other is None else wanted.cells[other[0]][other[1]])


def _differences(wanted: Study, runs: Runs, known: Sequence[tuple[Contrast, Difference]]) -> str:
    """The first sentence: a clause a column, in it every row with its interval; n once where it is the same."""
    sizes = {value.pairs for _, value in known}
    clauses = []
    for (j, side), group in groupby(known, key=lambda each: (each[0].mine[1], _other_side(wanted, each[0]))):
        shown = [_value(wanted, contrast, value, alone=len(sizes) == 1) for contrast, value in group]
        clauses.append(f"{wanted.columns[j]}{side}: {', '.join(shown)}")
    kinds = dict.fromkeys(value.interval.kind for _, value in known)
    notes = [BRACKETS[kind].format(level=100 * runs.spec.confidence) for kind in kinds if kind != "none"]
    if "none" in kinds:
        notes.append("no interval of single seeds")
    size = [f"n = {next(iter(sizes))}"] if len(sizes) == 1 else []
    return f"{'; '.join(clauses)} ({'; '.join([*size, *notes])})"


def _other_side(wanted: Study, contrast: Contrast) -> str:
    """What a column's values are compared with, in words."""
    if contrast.other is None:
        return ""
    (i, j), (k, m) = contrast.mine, contrast.other
    if j == m:
        return f", difference from {wanted.rows[k]}"
    return f", difference from {wanted.columns[m]}" + ("" if i == k else f", {wanted.rows[k]}")


def _value(wanted: Study, contrast: Contrast, found: Difference, alone: bool) -> str:
    i, j = contrast.mine
    digits = wanted.cells[i][j].digits
    ends = found.interval.low, found.interval.high
    interval = "" if found.interval.kind == "none" else f" {interval_text(*ends, digits)}"
    sign = "+" if found.mean > 0 else ""
    return f"{wanted.rows[i]} {sign}{number(found.mean, digits)}{interval}" + ("" if alone else f", n = {found.pairs}")


def _reached(wanted: Study, runs: Runs, measured: Sequence[Sequence[Measured]]) -> str:
    """How many of the compared runs reached the target, and which cells' did not."""
    compared = {
        (cell.task, cell.method): (_name(runs, wanted.rows[i], cell), measured[i][j])
        for i, j, cell in _compared(wanted)
        if measured[i][j].run
    }
    run = sum(value.run for _, value in compared.values())
    reached = sum(value.reached for _, value in compared.values())
    short = [f"{name} {value.reached}/{value.run}" for name, value in compared.values() if value.reached < value.run]
    if not short:
        return f"All {run} runs that are compared reached the target"
    return f"{reached} of the {run} runs that are compared reached the target (short of it: {'; '.join(short)})"


def _name(runs: Runs, row: str, cell: Cell) -> str:
    """A cell's row, its method and task, each once."""
    parts = (runs.spec.label(cell.method), cell.task)
    return ", ".join([row, *(part for part in parts if part not in row)])


def _compared(wanted: Study) -> Iterator[tuple[int, int, Cell]]:
    for contrast in wanted.contrasts:
        for i, j in (contrast.mine, contrast.other or contrast.mine):
            yield i, j, wanted.cells[i][j]


def _tests(runs: Runs, known: Sequence[tuple[Contrast, Difference]]) -> str:
    """How many differences the paired test separates from none, and whether it could at all."""
    count = sum(separates(runs, value.p_value) for _, value in known)
    text = f"the exact paired test separates {count} of {counted(len(known), 'difference')} from none"
    needed = smallest_n(runs.spec.confidence)
    if max(value.pairs for _, value in known) < needed:
        text += f" (it needs n = {needed})"
    return text
