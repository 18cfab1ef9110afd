"""The loss in the steps around nowcasts, relative to the loss before: how far it rises, and how soon it recovers."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from nino.drawing import BLUE, DARK
from nino.report.runs import Runs

QUARTILES = (0.25, 0.5, 0.75)


def relative_losses(runs: Runs, task: str, method: str) -> pd.DataFrame:
    """Losses around a method's nowcasts, each divided by the mean of those before its nowcast.

    Args:
        runs: the runs.
        task: id of the task.
        method: which method.

    Returns:
        A row for each step from the nowcast (``offset``) and a column for each quartile, taken over all accepted
        nowcasts of all seeds; empty if no run recorded these losses.
    """
    parts = []
    for key in runs.keys(task, method):
        table = runs.losses.get(key)
        if table is None or table.empty:
            continue
        accepted = runs.nowcasts[key].step[runs.nowcasts[key].accepted == 1]
        table = table[table.step.isin(accepted)]
        before = table[table.offset < 0].groupby("step").loss.mean()
        parts.append(table.assign(loss=table.loss / table.step.map(before)).dropna())
    if not parts:
        return pd.DataFrame()
    return pd.concat(parts).groupby("offset").loss.quantile(QUARTILES).unstack()  # type: ignore[arg-type]


def losses_panel(axes: Axes, table: pd.DataFrame) -> None:
    """Draw the median and the quartiles on either side of the nowcast."""
    for side in (table[table.index < 0], table[table.index > 0]):
        axes.fill_between(side.index, side[0.25], side[0.75], color=BLUE, alpha=0.2, linewidth=0)
        axes.plot(side.index, side[0.5], color=BLUE, linewidth=1.0)
    axes.axvline(0, color=DARK, linewidth=0.6, linestyle=(0, (2, 2)))
    axes.axhline(1, color=DARK, linewidth=0.6, linestyle=(0, (2, 2)))


def losses_sentence(runs: Runs, method: str, task: str) -> str | None:
    """State how far the loss rises after a method's nowcasts and when its median recovers; None without a record."""
    table = relative_losses(runs, task, method)
    after = table[table.index > 0] if len(table) else table
    if after.empty:
        return None
    label, first = runs.spec.label(method), after.iloc[0]
    down = after.index[after[0.5] <= 1]
    when = f"stays above 1 for {after.index[-1]:.0f} steps"
    if len(down):
        when = "is not above 1 then" if down[0] == after.index[0] else f"comes down to 1 after {down[0]:.0f} steps"
    return (
        f"{task}: in the step after a nowcast of {label} the loss is {first[0.5]:.3g} times that of the steps before "
        f"(median over nowcasts and seeds; quartiles {first[0.25]:.3g} and {first[0.75]:.3g}); the median {when}."
    )
