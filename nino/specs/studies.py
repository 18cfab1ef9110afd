"""Studies of the paper that are no training runs, and the names of the tables that all studies make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any

from nino.specs.base import Spec
from nino.specs.values import Allowed, Count, Precision, Seed, Text

OVERHEAD_MODELS = ("gpt2-1-8", "gpt2-3-64", "gpt2-6-384", "llama-6-384")
OVERHEAD_METHODS = ("adam", "wnn+", "nino", "nino-20-percent", "nino-5-percent", "nino-blocks", "l2o")


@dataclass(frozen=True)
class PermutationSpec(Spec):
    """Which permutations of attention neural graphs see (figure 2d,e of the paper).

    Args:
        permutations: permutations drawn, half of which keep the function [permutations].
        width: width d of the attention layer, a multiple of heads [neurons].
        heads: heads of the attention layer [heads].
        nowcaster: file or known name of the NiNo whose graph network embeds; without it a random one [path or name].
        hidden: size of a random graph network [neurons].
        seed: seed of layer, permutations, folds and random weights [seed].
    """

    permutations: Annotated[int, Allowed(ge=20)] = 1000
    width: Count = 12
    heads: Count = 4
    nowcaster: Text | None = None
    hidden: Count = 128
    seed: Seed = 0


@dataclass(frozen=True)
class OverheadSpec(Spec):
    """What nowcasts cost a training.

    Args:
        models: models that are trained, keys of nino.studies.overhead.MODELS [names].
        methods: what is measured on each, keys of nino.studies.overhead.METHODS [names].
        hidden: size of the (random) nowcasters; what they cost does not depend on their weights [neurons].
        nowcaster: file or known name of the NiNo that approximations are compared by; without it weights are random and
            nothing is compared [path].
        batch: examples a base step [examples].
        tokens: length of an example [tokens].
        accumulate: parts that a batch is taken in, one after the other; divides batch [parts].
        period: between nowcasts, for the share of training [steps].
        precision: precision of the base steps [name].
    """

    models: Annotated[tuple[Annotated[str, Allowed(names=OVERHEAD_MODELS)], ...], Allowed(min_length=1, unique=True)]
    methods: Annotated[tuple[Annotated[str, Allowed(names=OVERHEAD_METHODS)], ...], Allowed(min_length=1, unique=True)]
    hidden: Count = 128
    nowcaster: Text | None = None
    batch: Count = 8
    tokens: Count = 128
    accumulate: Count = 1
    period: Count = 1000
    precision: Precision = "float32"


STUDY_TABLES = (
    "table3",
    "table4",
    "learning-rates",
    "vit",
    "training-models",
    "hidden-depth",
    "model-size",
    "approximations",
    "time",
    "context",
    "topology",
    "acceptance",
    "still",
    "base-optimizers",
    "tuning",
    "recipes",
    "spikes",
)
"""Tables of studies that are made of training runs, in their order; `nino.report.studies` describes them."""
STUDY_FIGURES = ("learning-rates", "training-models", "hidden-depth", "model-size")
"""Those of them whose columns lie along an axis, and are drawn."""

STUDIES: dict[str, type[Spec]] = {"overhead": OverheadSpec, "permutation": PermutationSpec}


def study_files(name: str) -> list[str]:
    """The files of a study's table and figure, below the run's folder.

    >>> study_files("vit")
    ['tables/vit.csv', 'tables/vit.md', 'tables/vit.tex', 'tables/vit.html', 'tables/captions/vit.rst']
    """
    paths = [f"tables/{name}.{kind}" for kind in ("csv", "md", "tex", "html")] + [f"tables/captions/{name}.rst"]
    if name in STUDY_FIGURES:
        paths += [f"figures/{name}.svg", f"figures/{name}.png", f"figures/captions/{name}.rst"]
    return paths


def study_artifacts(name: str) -> list[tuple[str, str]]:
    """A study's files, each with how the report shows it: as ``table``, as ``figure`` or not at all.

    >>> [file for file, shows in study_artifacts("vit") if shows]
    ['tables/vit.html']
    """
    shown = {".html": "table", ".svg": "figure"}
    return [(file, shown.get(PurePosixPath(file).suffix, "")) for file in study_files(name)]


def study_specs(config: Mapping[str, Any]) -> Iterator[tuple[str, Spec]]:
    """Name and specification of every study in a checked config."""
    for name, values in config.get("studies", {}).items():
        yield name, STUDIES[name].from_dict(values)
