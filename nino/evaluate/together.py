"""The runs of several seeds of one method, trained at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from nino.device import synchronize
from nino.ensemble import Ensemble
from nino.evaluate.loop import DivergedError, EvaluatedTraining


def train_together(
    runs: Sequence[EvaluatedTraining], diverged: Callable[[int, str], None], stepped: Callable[[int], None]
) -> None:
    """Advance runs to their last step as one ensemble.

    Base steps are taken together, and each run is charged an equal share of their seconds; nowcasts and measurements
    are each run's own. A run that diverges is left behind, and the others continue. Runs that were stopped at different
    steps first catch up one by one.

    Args:
        runs: of one task, method and schedule, with different seeds.
        diverged: called with the index of a run that diverged, and the reason.
        stepped: called with the index of each run that has taken a step.

    Raises:
        ValueError: for runs that cannot be stacked; see `nino.ensemble.obstacle`.
    """
    going = dict(enumerate(runs))
    most = max(run.training.steps for run in runs)
    for i, run in list(going.items()):
        try:
            while run.training.steps < most:
                run.advance()
                stepped(i)
        except DivergedError as error:
            diverged(i, str(error))
            del going[i]
    while going and not next(iter(going.values())).finished:
        ensemble = Ensemble([run.training for run in going.values()])
        lost: dict[int, str] = {}
        while not lost and not next(iter(going.values())).finished:
            lost = _step(ensemble, going)
            for i in going:
                if i not in lost:
                    stepped(i)
        ensemble.release()
        for i, reason in lost.items():
            diverged(i, reason)
            going.pop(i).pause()
    for run in going.values():
        run.pause()


def _step(ensemble: Ensemble, going: dict[int, EvaluatedTraining]) -> dict[int, str]:
    """Take one step of all runs; the index of each run that diverged in it -> the reason."""
    lost: dict[int, str] = {}
    waiting: list[int] = []
    for i, run in going.items():
        try:
            if run.begin():
                waiting.append(i)
        except DivergedError as error:
            lost[i] = str(error)
        run.pause()
    if waiting and not lost and len(waiting) == len(going):
        _joint_step(ensemble, list(going.values()))
    elif waiting:
        # All runs nowcast at the same steps. If some did and others wait for a base step, the parameters of the latter
        # are not finite: they are lost. Else a run's loss was not finite: the others take this step one by one.
        members = dict(zip(going, ensemble.release(), strict=True))
        nowcast = len(waiting) + len(lost) < len(going)
        for i in waiting:
            if nowcast:
                lost[i] = f"the parameters were no longer finite before step {going[i].training.steps + 1}"
            else:
                going[i].clock.switch("train")
                going[i].record(members[i].step())
    for i, run in going.items():
        if i in lost:
            continue
        try:
            run.end()
        except DivergedError as error:
            lost[i] = str(error)
        run.pause()
    return lost


def _joint_step(ensemble: Ensemble, runs: list[EvaluatedTraining]) -> None:
    start = time.perf_counter()
    losses = ensemble.step()
    synchronize(runs[0].training.task.device)
    share = (time.perf_counter() - start) / len(runs)
    for run, loss in zip(runs, losses, strict=True):
        run.clock.charge("train", share)
        run.record(loss)
