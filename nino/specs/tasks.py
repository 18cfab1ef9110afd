"""Tasks: data x architecture x recipe x target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Annotated, Any

from nino.specs.base import Spec
from nino.specs.data_options import DATA_OPTIONS, SOURCES
from nino.specs.model_options import MODEL_OPTIONS
from nino.specs.outside import Outside, UserOptions
from nino.specs.recipe import RecipeSpec
from nino.specs.targets import TargetSpec
from nino.specs.values import (
    Allowed,
    Chosen,
    Count,
    Name,
    Word,
    YesNo,
)


@dataclass(frozen=True)
class DataSpec(Spec):
    """Which data set, and where it comes from.

    Args:
        name: data set, a key of nino.tasks.DATASETS, or a function of your own that returns one (FILE.py:NAME,
            MODULE:NAME, or registered by a package) [name].
        source: where it comes from: with a dependency (embedded), through torchvision or the hub, or from local files:
            npz, a folder of image files, csv, parquet or text [name].
        path: local file or folder, for sources that read one, and for functions of your own that take it [path].
        options: what only this data set knows.
    """

    name: Annotated[str, Outside("data", DATA_OPTIONS, options="options", beside=("path",))]
    source: Annotated[str, Allowed(names=dict.fromkeys(chain(*SOURCES.values())))] = "embedded"
    path: Word | None = None
    options: Annotated[Mapping[str, Any], Chosen("name", DATA_OPTIONS, UserOptions)] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelSpec(Spec):
    """Which architecture.

    Args:
        name: architecture, a key of nino.tasks.MODELS, or a function of your own that makes one for the data
            (FILE.py:NAME, MODULE:NAME, or registered by a package) [name].
        options: arguments of the architecture.
    """

    name: Annotated[str, Outside("model", MODEL_OPTIONS, options="options")]
    options: Annotated[Mapping[str, Any], Chosen("name", MODEL_OPTIONS, UserOptions)] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluationSpec(Spec):
    """How often a run is measured.

    Args:
        test_every: between measurements on the test split; 1 in the paper's vision tasks, 500 in language [steps].
        validation_every: between measurements on the validation split, a multiple of test_every, and equal to it where
            the target is checked on this split [steps].
        at_nowcast: whether a measured nowcast step is measured before (language) or after the nowcast (the paper's
            vision tasks) [name].
        hardest_first: whether, between measurements on the validation split, the test split is measured only where a
            sample of its images, and then the hardest, leave the target open: the same first hit (overlooked with a
            probability of at most 1e-6), sooner, fewer rows in the log [yes or no].
        checkpoint_every: between states that are written as Hugging Face folders, checkpoints/checkpoint-<step> of a
            run, for nowcasts apart from it (nino step); as many are kept as a nowcast reads, and one more; not for a
            ConvNet [steps].
    """

    test_every: Count
    validation_every: Count
    at_nowcast: Annotated[str, Allowed(names=("before", "after"))] = "after"
    hardest_first: YesNo = False
    checkpoint_every: Count | None = None


@dataclass(frozen=True)
class TaskSpec(Spec):
    """A task: data x architecture x recipe x target.

    Args:
        id: its name in the config [name].
    """

    id: Name
    data: DataSpec
    model: ModelSpec
    recipe: RecipeSpec
    target: TargetSpec
    evaluation: EvaluationSpec
