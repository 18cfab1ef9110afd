"""A plan as a table to read, and as plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from tabulate import tabulate

from nino.plan.rows import STAGES, Plan, Row


def as_text(plan: Plan) -> str:
    """A row per part, a total per stage, the total, and the notes."""
    unit = "core-hours" if plan.device == "cpu" else "GPU-hours"
    head = ("stage", "what", "jobs", unit, "longest job, h", "disk, at most", "peak memory a job")
    lines: list[Sequence[str]] = []
    for stage in STAGES:
        rows = [row for row in plan.rows if row.stage == stage]
        lines += [_cells(stage, row.name, [row]) for row in rows]
        if len(rows) > 1:
            lines.append(_cells(stage, "together", rows))
    lines.append(_cells("all", "", plan.rows))
    aligned = ("left", "left", *["right"] * (len(head) - 2))
    table = tabulate(lines, head, "simple", colalign=aligned, disable_numparse=True)
    notes = "\n".join(f"- {note}" for note in plan.notes)
    return f"{plan.run}, calibrated on {plan.device}:\n\n{table}\n\n{notes}\n"


def as_dict(plan: Plan) -> dict[str, Any]:
    """Everything in plain JSON values; seconds and bytes."""
    return {
        "run": plan.run,
        "device": plan.device,
        "rows": [asdict(row) for row in plan.rows],
        "total": {
            "jobs": sum(row.jobs for row in plan.rows),
            "seconds": sum(row.seconds or 0.0 for row in plan.rows),
            "bytes": sum(row.size or 0 for row in plan.rows),
        },
        "disk": [{**asdict(need), "path": str(need.path)} for need in plan.needs],
        "notes": plan.notes,
        "calibrations": {task: asdict(times) for task, times in plan.calibrations.items()},
        "fits": {name: asdict(times) for name, times in plan.fits.items()},
        "learned": {name: asdict(times) for name, times in plan.learned.items()},
    }


def human(size: float) -> str:
    """Bytes in the unit that suits them.

    >>> human(21_570_000_000), human(950)
    ('21.6 GB', '950 B')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def hours(seconds: float) -> str:
    """Hours with as many decimals as say something.

    >>> hours(3600 * 123.4), hours(90), hours(1)
    ('123', '0.025', '0.0003')
    """
    value = seconds / 3600
    decimals = next((places for least, places in ((100, 0), (1, 1), (0.001, 3)) if value >= least), 4)
    return f"{value:.{decimals}f}"


def _cells(stage: str, name: str, rows: Sequence[Row]) -> tuple[str, ...]:
    return (
        stage,
        name,
        f"{sum(row.jobs for row in rows):,}",
        _reduced((row.seconds for row in rows), sum, hours),
        _reduced((row.longest for row in rows), max, hours),
        _reduced((row.size for row in rows), sum, human),
        _reduced((row.memory for row in rows), max, human),
    )


def _reduced(values: Iterable[float | None], reduce: Callable[..., float], show: Callable[..., str]) -> str:
    """The sum or the largest of the values that are known, in words; a question mark where none is."""
    numbers = [value for value in values if value is not None]
    return show(reduce(numbers)) if numbers else "?"
