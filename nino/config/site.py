"""What jobs ask a cluster for: partition, GPU, time and memory, within what the cluster has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nino.config.errors import ConfigError
from nino.config.experiment import Experiment
from nino.config.load import read
from nino.specs import SiteSpec, problems

Request = Callable[..., Any]


@dataclass(frozen=True)
class Site(SiteSpec):
    """A cluster, and how the workflow uses it.

    The methods return what Snakemake wants as values of ``resources:``. Local runs ask nobody: there the values stand
    unused.

    Args:
        groups: how many trainings a queue entry of each group does; one where a group is not named.
    """

    groups: Mapping[str, int] = field(default_factory=dict)

    def group(self, model: str, fitted: bool = False) -> str:
        """Which trainings may share a queue entry: those that ask for the same, and wait for the same.

        Args:
            model: name of the architecture.
            fitted: whether they wait for a fitted nowcaster.
        """
        name = model if model in self.gpus else "default"
        return f"{name}-fitted" if fitted else name

    def training_group(self, run: Experiment, methods: Sequence[str] = ()) -> Request:
        """The group of an evaluation, by its wildcard ``task``, and ``method`` where no methods are given."""
        return lambda wildcards: self.group(
            run.tasks[wildcards.task].model.name, any(map(run.weights, methods or [wildcards.method]))
        )

    def memory(self, megabytes: int) -> Request:
        """Memory in MB: as given at first, more at each retry, at most the ceiling."""

        def ask(wildcards: Any, attempt: int) -> int:
            return min(megabytes * attempt, self.max_memory_mb)

        return ask

    def minutes(self, minutes: int, group: Request | None = None) -> Request:
        """Wall time in minutes: as given at first, more at each retry; a whole group stays below the ceiling.

        Args:
            minutes: of the first attempt.
            group: the job's group by its wildcards, whose members run one after another.
        """

        def ask(wildcards: Any, attempt: int) -> int:
            members = self.groups.get(group(wildcards), 1) if group else 1
            return max(1, min(minutes * attempt, self.max_minutes // members))

        return ask

    def where(self, kind: str | Request | None = None) -> dict[str, Any]:
        """Partition, GPU and what else says where a job runs.

        Args:
            kind: ``metatrain`` or a model's name, or a function of the wildcards that gives one; None for a job without
                a GPU.
        """
        asked: dict[str, Any] = {"lane": 1}
        if self.account:
            asked["slurm_account"] = self.account
        if self.constraint:
            asked["constraint"] = self.constraint
        if kind is None:
            return asked | {"slurm_partition": self.partitions.cpu}

        partitions = self.partitions

        def gpu(wildcards: Any) -> str:
            name = kind(wildcards) if callable(kind) else kind
            return self.gpus.get(name, self.gpus["default"])

        return asked | {
            "gpu": lambda wildcards: int(gpu(wildcards) != "none"),
            "gpu_model": lambda wildcards: "" if gpu(wildcards) in ("any", "none") else gpu(wildcards),
            "slurm_partition": lambda wildcards: partitions.cpu if gpu(wildcards) == "none" else partitions.gpu,
        }


def read_site(folder: Path) -> Site:
    """Read a cluster's profile.

    Args:
        folder: with ``site.yaml``, and Snakemake's ``config.yaml``, whose ``group-components`` are needed.

    Returns:
        The cluster.

    Raises:
        ConfigError: for a file that cannot be read, a key that is not known, a value that is not allowed, a group
            that cannot end below the time ceiling.
    """
    values = read(folder / "site.yaml")
    if wrong := problems(SiteSpec, values):
        raise ConfigError([f"{folder / 'site.yaml'}: {problem}" for problem in wrong])
    pairs = (entry.partition("=") for entry in read(folder / "config.yaml").get("group-components", ()))
    groups = {name: int(count) for name, _, count in pairs}
    longest = values["max_minutes"]
    if crowded := [name for name, members in groups.items() if members > longest]:
        name = crowded[0]
        raise ConfigError(
            [
                f"{folder / 'config.yaml'}: group-components: {name}={groups[name]}: less than a minute for each, with "
                f"max_minutes (={longest}) for all; make the group smaller"
            ]
        )
    return Site(**vars(SiteSpec.from_dict(values)), groups=groups)
