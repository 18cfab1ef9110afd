"""Studies of the paper that are no training runs: each a specification, its measurement, a table and a figure."""

from collections.abc import Iterator, Mapping
from typing import Any

from nino.specs import Spec
from nino.studies.spec import OverheadSpec, PermutationSpec

STUDIES: dict[str, type[Spec]] = {"overhead": OverheadSpec, "permutation": PermutationSpec}


def study_specs(config: Mapping[str, Any]) -> Iterator[tuple[str, Spec]]:
    """Name and specification of every study in a checked config."""
    for name, values in config.get("studies", {}).items():
        yield name, STUDIES[name].from_dict(values)


__all__ = ["STUDIES", "OverheadSpec", "PermutationSpec", "study_specs"]
