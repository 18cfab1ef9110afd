"""The running mean at the target: what it is taken over, and how it differs from the first hit."""

from __future__ import annotations

from nino.evaluate.target.running_mean import spacing, window
from nino.report.formats import counted
from nino.report.runs import Runs
from nino.specs import TaskSpec


def running_mean_notes(runs: Runs) -> tuple[str, ...]:
    """What the running mean of each task covers, and a sentence for each task on how it differs from the first hit."""
    covered: dict[tuple[int, int], list[str]] = {}
    for task in runs.spec.tasks:
        covered.setdefault((window(task, runs.spec.schedule), spacing(task)), []).append(task.id)
    windows = "; ".join(
        f"{length} steps, {counted(length // every, 'evaluation')}, on {', '.join(tasks)}"
        for (length, every), tasks in covered.items()
    )
    return (
        "Running mean: the same by the step at which the mean over the last evaluations first met the target, and the "
        f"seeds it did with ({windows}). A first hit is met by a peak of the jitter between evaluations; this is not.",
        *filter(None, (difference_sentence(runs, task) for task in runs.spec.tasks)),
    )


def difference_sentence(runs: Runs, task: TaskSpec) -> str:
    """How many runs met a task's target by each measure, and how much later by the mean."""
    spec, frame = runs.spec, runs.frame[(runs.frame.task == task.id) & (runs.frame.status != "missing")]
    if not frame.reached.any():
        return ""
    parts = {method: frame[frame.method == method] for method in spec.row_order}
    counts = [
        f"{spec.label(method)} {part.steps.notna().sum()} and {part.steady_steps.notna().sum()} of {len(part)}"
        for method, part in parts.items()
        if len(part)
    ]
    sentence = f"{task.id}: runs that met the target, and that met it by the running mean: {', '.join(counts)}"
    later = (frame.steady_steps - frame.steps).dropna()
    if len(later):
        sentence += (
            f"; the mean met it {later.median():.0f} steps later (median; {later.min():.0f} to {later.max():.0f})"
        )
    return f"{sentence}."
