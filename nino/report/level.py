"""The running mean beside the first hit: over what it is taken, and how the two differ."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nino.evaluate.target.running_mean import spacing, window
from nino.report.captions import counted, percent
from nino.report.runs import Runs
from nino.report.statistics import sample_mean, speedups
from nino.specs import TaskSpec


def level_notes(runs: Runs) -> tuple[str, ...]:
    """What the running mean of each task covers, and a sentence a task on how it differs from the first hit."""
    covered: dict[tuple[int, int], list[str]] = {}
    for task in runs.spec.tasks:
        covered.setdefault((window(task, runs.spec.schedule), spacing(task)), []).append(task.id)
    windows = "; ".join(
        f"{length} steps, {counted(length // every, 'evaluation')}, on {', '.join(tasks)}"
        for (length, every), tasks in covered.items()
    )
    return (
        "Running mean at target: the step at which the mean over the last evaluations first met the target, and the "
        f"seeds it did with ({windows}). A first hit is met by a peak of the jitter between evaluations; this is not.",
        *filter(None, (difference_sentence(runs, task) for task in runs.spec.tasks)),
    )


def difference_sentence(runs: Runs, task: TaskSpec) -> str:
    """How many runs met a task's target by each measure, how much later by the mean, and what the speed-ups become."""
    spec, frame = runs.spec, runs.frame[(runs.frame.task == task.id) & (runs.frame.status != "missing")]
    if frame.steps.isna().all():
        return ""
    parts = {method: frame[frame.method == method].set_index("seed") for method in spec.row_order}
    counts = [
        f"{spec.label(method)} {part.steps.notna().sum()} and {part.steady_steps.notna().sum()} of {len(part)}"
        for method, part in parts.items()
        if len(part)
    ]
    sentences = [f"{task.id}: runs that met the target, and that met it by the running mean: {', '.join(counts)}"]
    later = (frame.steady_steps - frame.steps).dropna()
    if len(later):
        sentences.append(
            f"the mean met it {later.median():.0f} steps later (median; {later.min():.0f} to {later.max():.0f})"
        )
    changes = [
        f"{spec.label(method)} {percent(by_mean)} where the first hit gives {percent(by_hit)}"
        for method in spec.contenders
        for by_hit, by_mean in [_speedups(parts[method], parts[spec.baseline])]
        if np.isfinite(by_mean)
    ]
    if changes:
        sentences.append(f"speed-ups by it: {', '.join(changes)}")
    return "; ".join(sentences) + "."


def _speedups(mine: pd.DataFrame, base: pd.DataFrame) -> tuple[float, float]:
    """Mean over seeds of the speed-up by the first hit and by the running mean; NaN without a pair."""
    by_hit, by_mean = (
        sample_mean(speedups(mine[name].to_numpy(), base[name].reindex(mine.index).to_numpy()))
        for name in ("steps", "steady_steps")
    )
    return by_hit, by_mean
