"""Methods: the rows of the results table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any

from nino.specs.base import Spec
from nino.specs.outside import Outside, UserOptions
from nino.specs.recipe import MethodRecipe, RecipeSpec
from nino.specs.schedule import ScheduleSpec
from nino.specs.tasks import TaskSpec
from nino.specs.values import (
    Allowed,
    Chosen,
    Count,
    Name,
    NonNegative,
    Several,
    Share,
    Text,
    Topology,
    Word,
)

CONTROLS = ("identity", "random", "linear", "oracle")  # nowcasters that bound a table from below and above
FROM_FILE = ("checkpoint", "metatrained", "l2o")  # methods that read weights
FITTED = ("checkpoint", "metatrained")  # those of them that nowcast
NOWCASTERS = ("none", *CONTROLS, *FROM_FILE)
WITHOUT_NOWCASTS = ("none", "l2o")  # one optimizer takes every step

APPROXIMATIONS = ("edges", "subgraphs")  # of a NiNo's messages, see nino.nowcasters.approximate
OF_FITTED = (*APPROXIMATIONS, "scaling")  # options of methods in FITTED, and of no other
SCHEDULE_OPTIONS = ("period", "context", "spacing", "max_horizon", "power", "horizons")
"""Keys of ``MethodSpec.options`` that say when a method nowcasts, from which states and how far."""
WRAPPER_OPTIONS = ("topology", "unknown", "update_scale", "accept", "still", *SCHEDULE_OPTIONS)
"""Keys of ``MethodSpec.options`` that are ``NiNo``'s; all others are the nowcaster's."""

PUBLISHED = ("nino_no_posw", "nino_mlp", "nino_mlp_h32", "wnn")  # weights with a name: keys of nino.nowcasters.KNOWN
PUBLISHED_CONTEXT = 5  # states that each of the published nowcasters reads
_OF_THE_PAPER = ("fm-16", "c10-16", "lm1b-3-24", "lm1b-2-32")
FITTED_TO = {"nino_no_posw": _OF_THE_PAPER, "nino_mlp": _OF_THE_PAPER, "nino_mlp_h32": _OF_THE_PAPER}
"""Of weights with a name, the benchmark's tasks whose trajectories they were fitted to; WNN's were to others."""


@dataclass(frozen=True)
class MethodOptions(Spec):
    """Further arguments of a nowcaster of this package.

    Args:
        topology: neural graph that is read: as released, exact, or naive (attention without heads) [name].
        accept: which nowcasts are taken: all finite ones, or those that do not raise the loss on the next batch [name].
        update_scale: factor on the predicted change [factor].
        still: elements that are equal in all states that a nowcast reads: predict (nowcast as all others, as published)
            or keep (left as they are, as the library does without being asked) [name].
        period: between nowcasts [steps; default that of evaluate.schedule].
        context: states c that a nowcast reads; of a nowcaster that is fitted, those that it was fitted to
            [states; default that of evaluate.schedule].
        spacing: between the states that a nowcast reads [steps; default period / context].
        max_horizon: horizon k of the first nowcast [states; default that of evaluate.schedule].
        power: exponent of the decay of k; 0 keeps it [exponent; default that of evaluate.schedule].
        horizons: k of the first, second, ... nowcast in place of the decay, the last for all that follow, such as those
            of nino.schedule.horizons_under [states; default the decay of max_horizon].
        scaling: what states are scaled by: each parameter tensor alone, or the whole network (as the released weights
            were fitted to transformers); for checkpoint and metatrained [name; default tensor].
        edges: share of the edges with weights that NiNo's messages travel on, drawn at random; all weights are
            predicted; for checkpoint and metatrained [share; default all of them, exactly].
        subgraphs: parts of the network that NiNo nowcasts one by one, each without the others: block (names up to
            their first number agree) or layer (a module's weight and bias); for checkpoint and metatrained
            [name; default the whole network].
    """

    topology: Topology = "released"
    accept: Annotated[str, Allowed(names=("finite", "loss"))] = "finite"
    update_scale: NonNegative = 1.0
    still: Annotated[str, Allowed(names=("predict", "keep"))] = "predict"
    period: Count | None = None
    context: Several | None = None
    spacing: Count | None = None
    max_horizon: Count | None = None
    power: NonNegative | None = None
    horizons: Annotated[tuple[Count, ...], Allowed(min_length=1)] | None = None
    scaling: Annotated[str, Allowed(names=("tensor", "network"))] | None = None
    edges: Share | None = None
    subgraphs: Annotated[str, Allowed(names=("block", "layer"))] | None = None


OF_ALL = tuple(each.name for each in fields(MethodOptions) if each.name not in OF_FITTED)
"""Keys of ``MethodSpec.options`` that every method may say, beside arguments of a nowcaster of the user's own."""


@dataclass(frozen=True)
class MethodSpec(Spec):
    """A row of the results table.

    Args:
        name: its key in the config [name].
        nowcaster: what forecasts: nothing, a control, a file, a nowcaster fitted by this run, or a class of your own
            (FILE.py:NAME, MODULE:NAME, or registered by a package); l2o forecasts nothing, a learned optimizer makes
            the steps [name].
        label: how tables and figures call the method; without it the method's name [text].
        source: which of metatrain.nowcasters, for metatrained, or of metatrain.optimizers, for l2o [name].
        path: file or known name of the weights, for checkpoint; file of a learned optimizer, for l2o without a source
            [path].
        options: further arguments of the nowcaster.
        recipe: what the row trains with in place of the task's recipe: another optimizer, learning rate, weight decay,
            schedule or averaging; seeds, batches and steps stay the task's.
    """

    name: Name
    nowcaster: Annotated[str, Outside("nowcaster", NOWCASTERS, options="options", apart=OF_ALL)]
    label: Text | None = None
    source: Word | None = None
    path: Text | None = None
    options: Annotated[
        Mapping[str, Any], Chosen("nowcaster", dict.fromkeys(NOWCASTERS, MethodOptions), UserOptions)
    ] = field(default_factory=dict)
    recipe: MethodRecipe | None = None

    def on(self, task: str) -> MethodSpec:
        """The row as one task sees it: without what its recipe says of others."""
        if self.recipe is None:
            return self
        recipe = MethodRecipe(**vars(self.recipe.on(task)))
        return replace(self, recipe=None if recipe == MethodRecipe() else recipe)

    def recipe_of(self, task: TaskSpec) -> RecipeSpec:
        """The recipe that the row trains a task with."""
        return task.recipe if self.recipe is None else self.recipe.over(task.recipe, task.id)


@dataclass(frozen=True)
class EvaluationUnit(Spec):
    """A job: training a task with a method; the seed comes beside it."""

    task: TaskSpec
    method: MethodSpec
    schedule: ScheduleSpec
