"""The loss right before and right after each nowcast: does it fall at once, or does it rise first?"""

from __future__ import annotations

from typing import Any

import pandas as pd

from nino.report.columns import METHOD, TASK, Column, by_task, head, lay_out, plain
from nino.report.formats import significant
from nino.report.rendering import Table
from nino.report.runs import Runs


def nowcast_table(runs: Runs) -> Table:
    """How nowcasts changed the loss of the next batch, for each method; the first and the last one in detail."""
    columns = (
        TASK,
        METHOD,
        Column("Nowcasts", plain("nowcasts")),
        Column("Accepted", plain("accepted")),
        Column("Loss lowered", lambda row: f"{row['lowered_percent']:.0f} %"),
        Column("First: k", lambda row: f"{row['by_step'][0]['k']:.0f}"),
        Column("Loss before → after", lambda row: _change_text(row["by_step"][0])),
        Column("Last: k", lambda row: f"{row['by_step'][-1]['k']:.0f}"),
        Column("Loss before → after ", lambda row: _change_text(row["by_step"][-1])),
    )
    rows = [
        _row(runs, task.id, method, nowcasts)
        for task in runs.spec.tasks
        for method in runs.spec.row_order
        if len(nowcasts := runs.nowcasts_of(method, task.id))
    ]
    return lay_out(
        "nowcasts",
        "Loss before and after nowcasts",
        columns,
        rows,
        data=[{"task": row["task"], "method": row["method"], **step} for row in rows for step in row["by_step"]],
        group=by_task,
        notes=("Training loss on the next batch, right before and right after the jump; means over seeds.",),
    )


def _row(runs: Runs, task: str, method: str, nowcasts: pd.DataFrame) -> dict[str, Any]:
    return head(runs, task, method) | {
        "nowcasts": len(nowcasts),
        "accepted": int(nowcasts.accepted.sum()),
        "lowered_percent": 100 * (nowcasts.loss_after < nowcasts.loss_before).mean(),
        "by_step": [_at_step(step, part) for step, part in nowcasts.groupby("step")],
    }


def _at_step(step: Any, part: pd.DataFrame) -> dict[str, Any]:
    """The nowcasts of one step, as a row of the CSV file."""
    return {
        "step": int(step),
        "k": part.k.mean(),
        "seeds": len(part),
        "accepted": int(part.accepted.sum()),
        "norm": part.norm.mean(),
        "loss_before": part.loss_before.mean(),
        "loss_after": part.loss_after.mean(),
        "lowered": int((part.loss_after < part.loss_before).sum()),
    }


def _change_text(at_step: dict[str, Any]) -> str:
    return f"{significant(at_step['loss_before'])} → {significant(at_step['loss_after'])}"
