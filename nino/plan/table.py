"""A plan as a table to read, and as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from nino.plan.estimate import STAGES, Plan, Row


def as_text(plan: Plan) -> str:
    """A row a part, a total a stage, the total, and what to know about them."""
    unit = "GPU-hours" if plan.device == "cuda" else "core-hours"
    head = ("stage", "what", "jobs", unit, "longest job, h", "disk, at most", "peak memory a job")
    lines: list[Sequence[str]] = [head]
    for stage in STAGES:
        rows = [row for row in plan.rows if row.stage == stage]
        lines += [_cells(stage, row.name, [row]) for row in rows]
        if len(rows) > 1:
            lines.append(_cells(stage, "together", rows))
    lines.append(_cells("all", "", plan.rows))
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    table = [_line(line, widths) for line in lines]
    table.insert(1, "  ".join("-" * width for width in widths))
    notes = [f"- {note}" for note in plan.notes]
    return "\n".join([f"{plan.run}, calibrated on {plan.device}:", "", *table, "", *notes]) + "\n"


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
        "calibrations": {task: asdict(found) for task, found in plan.calibrations.items()},
        "fits": {name: asdict(found) for name, found in plan.fits.items()},
        "learned": {name: asdict(found) for name, found in plan.learned.items()},
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
    return (
        f"{value:.0f}"
        if value >= 100
        else f"{value:.1f}"
        if value >= 1
        else f"{value:.3f}"
        if value >= 0.001
        else f"{value:.4f}"
    )


def _cells(stage: str, name: str, rows: Sequence[Row]) -> tuple[str, ...]:
    return (
        stage,
        name,
        f"{sum(row.jobs for row in rows):,}",
        _known((row.seconds for row in rows), sum, hours),
        _known((row.longest for row in rows), max, hours),
        _known((row.size for row in rows), sum, human),
        _known((row.memory for row in rows), max, human),
    )


def _known(values: Iterable[float | None], reduce: Any, show: Any) -> str:
    known = [value for value in values if value is not None]
    return show(reduce(known)) if known else "?"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    left = [cell.ljust(width) for cell, width in zip(cells[:2], widths[:2], strict=True)]
    return "  ".join([*left, *(cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True))]).rstrip()
