"""Recipes: how a task is trained, and what a row of the results table trains with in place of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any

from nino.specs.base import Spec
from nino.specs.outside import Outside, UserOptions
from nino.specs.values import (
    Allowed,
    Chosen,
    Count,
    Name,
    NonNegative,
    Positive,
    Precision,
    Probability,
    Several,
    YesNo,
)


@dataclass(frozen=True)
class AdamOptions(Spec):
    """Options of the optimizers adam and adamw.

    Args:
        betas: decay of the running means of the gradient and of its square [fractions; default 0.9 and 0.999].
        eps: added to the denominator [number].
    """

    betas: Annotated[tuple[Probability, ...], Allowed(min_length=2, max_length=2)] | None = None
    eps: NonNegative = 1e-8


@dataclass(frozen=True)
class SGDOptions(Spec):
    """Options of the optimizer sgd.

    Args:
        momentum: decay of the running sum of gradients [fraction].
        nesterov: whether the gradient is looked at where the momentum leads [yes or no].
    """

    momentum: Probability = 0.9
    nesterov: YesNo = False


@dataclass(frozen=True)
class MuonOptions(SGDOptions):
    """Options of the optimizer muon, for what Muon trains; the rest is AdamW's."""

    momentum: Probability = 0.95
    nesterov: YesNo = True


OPTIMIZER_OPTIONS: dict[str, type[Spec]] = {
    "adam": AdamOptions,
    "adamw": AdamOptions,
    "sgd": SGDOptions,
    "muon": MuonOptions,
}
OptimizerName = Annotated[str, Outside("optimizer", OPTIMIZER_OPTIONS, options="options")]
OptimizerOptions = Annotated[Mapping[str, Any] | None, Chosen("optimizer", OPTIMIZER_OPTIONS, UserOptions)]


@dataclass(frozen=True)
class AroundSpec(Spec):
    """An optimizer around the recipe's: its constructor takes that one as first argument.

    Args:
        optimizer: class of the outer optimizer, such as pytorch_optimizer:Lookahead [name].
        options: further arguments of its constructor.
    """

    optimizer: Annotated[str, Outside("wrapper", options="options")]
    options: Annotated[Mapping[str, Any], Chosen("optimizer", {}, UserOptions)] = field(default_factory=dict)


@dataclass(frozen=True)
class LearningRateSpec(Spec):
    r"""How the learning rate moves over a run.

    With peak learning rate lr, w steps of warm-up, T steps in all and a final share f, step t (from 1) is taken with lr
    times :math:`t / w` up to step w, then with lr times 1 (constant), :math:`1 - (1 - f) s` (linear) or
    :math:`f + (1 - f) (1 + \cos \pi s) / 2` (cosine), where :math:`s = (t - 1 - w) / (T - w)`.

    Args:
        kind: constant, or linear or cosine decay [name].
        warmup: steps in which it rises to recipe.lr, by equal parts; less than recipe.steps [steps].
        final: share of recipe.lr that a decay would come to right after the last step [fraction].
    """

    kind: Annotated[str, Allowed(names=("constant", "linear", "cosine"))] = "constant"
    warmup: Annotated[int, Allowed(ge=0)] = 0
    final: Annotated[float, Allowed(ge=0, lt=1)] = 0.0

    def factor(self, step: int, steps: int) -> float:
        """The factor on the learning rate of a step.

        Args:
            step: t, from 1.
            steps: T, of the whole run.

        >>> [LearningRateSpec("linear", warmup=2).factor(t, 6) for t in range(1, 7)]
        [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
        """
        if step <= self.warmup:
            return step / self.warmup
        if self.kind == "constant":
            return 1.0
        done = min(1.0, (step - 1 - self.warmup) / (steps - self.warmup))  # trajectories may go on for longer
        left = 1 - done if self.kind == "linear" else (1 + math.cos(math.pi * done)) / 2
        return self.final + (1 - self.final) * left


@dataclass(frozen=True)
class AveragingSpec(Spec):
    """Averages of the weights, which are measured in place of the weights that are trained.

    Args:
        kind: none; ema, an exponential moving average; or lawa, the mean of the latest weights [name].
        decay: share of the old average that each update of an ema keeps; with ema, and required there
            [fraction; default none].
        window: states that lawa takes the mean of; with lawa, and required there [states; default none].
        every: steps between two updates of the average [steps].
    """

    kind: Annotated[str, Allowed(names=("none", "ema", "lawa"))]
    decay: Annotated[float, Allowed(gt=0, lt=1)] | None = None
    window: Several | None = None
    every: Count = 1


@dataclass(frozen=True)
class RecipeSpec(Spec):
    """How the base optimizer trains the task.

    Args:
        optimizer: base optimizer: one of ours, or any torch.optim.Optimizer by where it is defined [name].
        lr: learning rate, the highest where a schedule moves it [per step].
        steps: length T of a run [steps].
        batch_size: examples a step (images, or blocks of tokens) [examples].
        weight_decay: weight decay, decoupled for adamw, never on biases [per step and learning rate].
        accumulate: parts that a batch is taken in, one after the other, gradients added up: the same step in less
            memory; divides batch_size [parts].
        precision: precision of forward and backward pass: float32, or bfloat16 for automatic mixed precision;
            parameters, gradients and optimizer stay float32 [name].
        options: further arguments of the optimizer.
        around: an optimizer around it.
        schedule: of the learning rate; without it constant.
        averaging: of the weights that are measured; without it none.
    """

    optimizer: OptimizerName
    lr: Positive
    steps: Count
    batch_size: Count
    weight_decay: NonNegative = 0.0
    accumulate: Count = 1
    precision: Precision = "float32"
    options: OptimizerOptions = None
    around: AroundSpec | None = None
    schedule: LearningRateSpec | None = None
    averaging: AveragingSpec | None = None

    @property
    def averages(self) -> AveragingSpec | None:
        """How weights are averaged; None where they are not."""
        return None if self.averaging is None or self.averaging.kind == "none" else self.averaging

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step, from 1."""
        return self.lr if self.schedule is None else self.lr * self.schedule.factor(step, self.steps)


@dataclass(frozen=True)
class RowRecipe(Spec):
    """What a row trains with in place of the task's recipe; a key that is left out is the task's.

    Args:
        optimizer: base optimizer, with options of its own [name; default the task's].
        lr: learning rate [per step; default the task's].
        weight_decay: weight decay [per step and learning rate; default the task's].
        options: further arguments of the optimizer, in place of all of the task's.
        around: an optimizer around it.
        schedule: of the learning rate.
        averaging: of the weights that are measured.
    """

    optimizer: OptimizerName | None = None
    lr: Positive | None = None
    weight_decay: NonNegative | None = None
    options: OptimizerOptions = None
    around: AroundSpec | None = None
    schedule: LearningRateSpec | None = None
    averaging: AveragingSpec | None = None


@dataclass(frozen=True)
class MethodRecipe(RowRecipe):
    """What a row trains with in place of the task's recipe; a key that is left out is the task's.

    Args:
        tasks: by task: what differs on this task alone, such as a learning rate that was tuned for it.
    """

    tasks: Mapping[Name, RowRecipe] | None = None

    def on(self, task: str) -> RowRecipe:
        """What holds on one task: its own entry, laid over what holds on all.

        >>> MethodRecipe(lr=0.1, weight_decay=0.2, tasks={"a": RowRecipe(lr=0.3)}).on("a")
        RowRecipe(optimizer=None, lr=0.3, weight_decay=0.2, options=None, around=None, schedule=None, averaging=None)
        """
        return _laid_over(RowRecipe(**_said(self)), (self.tasks or {}).get(task, RowRecipe()))

    def over(self, recipe: RecipeSpec, task: str) -> RecipeSpec:
        """The recipe that a row trains a task with.

        Args:
            recipe: the task's.
            task: the task's id.
        """
        return _laid_over(recipe, self.on(task))


def _said(recipe: RowRecipe) -> dict[str, Any]:
    """The keys that a row says, without `tasks`."""
    values = {each.name: getattr(recipe, each.name) for each in fields(RowRecipe)}
    return {key: value for key, value in values.items() if value is not None}


def _laid_over(below: Any, above: RowRecipe) -> Any:
    """A recipe with what another says; options belong to their optimizer, so that another one begins without any."""
    said = _said(above)
    values = {each.name: getattr(below, each.name) for each in fields(below)}
    if said.get("optimizer", values["optimizer"]) != values["optimizer"]:
        values["options"] = None
    return type(below)(**values | said)
