"""Trajectories: the networks whose states nowcasters are fitted to."""

from __future__ import annotations

from dataclasses import dataclass

from nino.specs.base import Spec
from nino.specs.tasks import TaskSpec
from nino.specs.values import Count, Seed


@dataclass(frozen=True)
class TrajectorySpec(Spec):
    """How many networks of a task are trained for meta-training, and which states are kept.

    Args:
        models: networks to train [networks].
        models_per_shard: networks that one job trains and stores in one file [networks].
        state_every: between stored states [steps].
        first_seed: seed of network 0; network i takes this plus i, and no run is evaluated with any of them [seed].
        steps: length of each training; without it the recipe's [steps].
        members_per_job: networks of a shard trained at once, as one stacked network; states differ by rounding alone,
            memory grows with it; without it 1 on a CPU and 8 on a GPU. Tasks with dropout, or with muon, are trained
            one at a time whatever it says [networks].
    """

    models: Count
    models_per_shard: Count
    state_every: Count
    first_seed: Seed = 0
    steps: Count | None = None
    members_per_job: Count | None = None


@dataclass(frozen=True)
class TrajectoryUnit(Spec):
    """A job: training a task's networks for meta-training."""

    task: TaskSpec
    trajectories: TrajectorySpec
