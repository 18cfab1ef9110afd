"""Learned optimizers: how one is fitted to trainings of a task."""

from __future__ import annotations

from dataclasses import dataclass

from nino.specs.base import Spec
from nino.specs.tasks import TaskSpec
from nino.specs.values import Count, Name, Positive, Seed, Several


@dataclass(frozen=True)
class L2OSpec(Spec):
    """How a learned optimizer is fitted to trainings of a task, by truncated unrolls.

    Args:
        seed: seed of initialisation and of the trainings that it learns from [seed].
        iterations: unrolls, each followed by one update of the learned optimizer [iterations].
        hidden: width of its network, 32 in the source [neurons].
        lr: peak learning rate of AdamW, cosine to 0 [per iteration].
        clip_norm: bound on the gradient's L2 norm [norm].
        unroll: training steps of an unroll [steps].
        trainings: trainings kept under way, taken in turn, so that it sees young and old networks [trainings].
        max_steps: longest of them, at least unroll; each ends after a number of steps drawn from unroll to this, evenly
            on a logarithmic scale, and a new one begins [steps].
        validation_steps: length of the training, of a seed of its own, whose mean loss decides which state is the best
            [steps].
        validate_every: between validations [iterations].
        checkpoint_every: between checkpoints [iterations].
    """

    seed: Seed = 0
    iterations: Count = 5000
    hidden: Count = 32
    lr: Positive = 3e-3
    clip_norm: Positive = 1.0
    unroll: Several = 20
    trainings: Count = 8
    max_steps: Several = 2000
    validation_steps: Count = 500
    validate_every: Count = 250
    checkpoint_every: Count = 50


@dataclass(frozen=True)
class L2OUnit(Spec):
    """A job: fitting a learned optimizer to trainings of a task."""

    name: Name
    task: TaskSpec
    l2o: L2OSpec
