"""A cluster: what differs between the places where the workflow runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from nino.specs.base import Spec
from nino.specs.values import Allowed, Count, Word

NEEDED = {"metatrain": "GPU for fitting a nowcaster", "default": "GPU for training networks not named here"}

Gres = Annotated[
    str,
    Allowed(
        pattern=r"^[A-Za-z0-9_.]+$",
        meaning="GPU for training networks of this architecture (a name of nino.tasks.MODELS) "
        "[gres type, any or none; default that of default]",
    ),
]


@dataclass(frozen=True)
class Partitions(Spec):
    """Partitions that jobs are sent to.

    Args:
        cpu: for jobs without a GPU; empty for the cluster's default partition [name].
        gpu: for jobs with a GPU; empty for the cluster's default partition [name].
    """

    cpu: Word
    gpu: Word


@dataclass(frozen=True)
class SiteSpec(Spec):
    """A cluster: slurm/site.yaml.

    Args:
        account: account that jobs are charged to; empty for the user's default account [name].
        partitions: partitions that jobs are sent to.
        gpus: by kind of job, the GPU that it asks for one of: a type of the cluster's gres, any, or none; metatrain
            for fitting a nowcaster, default for architectures that are not named.
        constraint: features that nodes must have, as for sbatch --constraint; empty for none [expression].
        max_minutes: longest wall time that the partitions allow; no queue entry asks for more [minutes].
        max_memory_mb: memory of a node; no queue entry asks for more [MB].
    """

    account: Word
    partitions: Partitions
    gpus: Mapping[Word, Gres]
    constraint: Word
    max_minutes: Count
    max_memory_mb: Count

    def __post_init__(self) -> None:
        """Refuse a site that leaves open which GPU a job asks for."""
        for kind, meaning in NEEDED.items():
            if kind not in self.gpus:
                raise ValueError(f"gpus.{kind}: missing; {meaning} [gres type, any or none; required]")
