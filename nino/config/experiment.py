"""A checked config as dataclasses: what one run consists of."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

from nino.config.layout import Layout
from nino.specs import (
    L2OUnit,
    MetatrainUnit,
    MethodSpec,
    ReportSpec,
    ScheduleSpec,
    TaskSpec,
    TrajectorySpec,
)
from nino.specs.local_files import split_files
from nino.specs.outside import files, packages

T = TypeVar("T")


@dataclass(frozen=True)
class EvaluationJob:
    """The runs that one job of the workflow makes: those of each method from each seed.

    Args:
        tasks: there is such a job for each of them.
        methods: trained one after another.
        seeds: of each method.
    """

    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]

    def __len__(self) -> int:
        """Number of runs."""
        return len(self.methods) * len(self.seeds)

    @property
    def runs(self) -> tuple[tuple[str, int], ...]:
        """Method and seed of each run."""
        return tuple(product(self.methods, self.seeds))

    @property
    def name(self) -> str:
        """How its log is called."""
        ends = (f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in (self.methods, self.seeds))
        return "/seeds=".join(ends)

    @property
    def pattern(self) -> str:
        """A regular expression of the folders of its runs, relative to that of all evaluations."""
        parts = ((map(re.escape, self.tasks)), map(re.escape, self.methods), (f"seed={seed}" for seed in self.seeds))
        return "/".join(f"(?:{'|'.join(part)})" for part in parts)


@dataclass(frozen=True)
class Experiment:
    """Everything a run consists of, every default filled in, every name known.

    Args:
        run: its name; everything is written to ``results/<run>/``.
        data_dir: folder of data sets and token caches, None for the user's cache.
        tasks: the whole catalogue by name.
        trajectories: by task, whether used or not.
        nowcasters: by name, how and to which tasks' trajectories they are fitted; whether used or not.
        evaluated: tasks that are evaluated, in the tables' order.
        seeds: a run each.
        schedule: when nowcasts happen.
        methods: by name, in the tables' order; `ReportSpec.plans` says which of them are run on which task.
        report: what the report is told.
        config: the merged mapping that all this was made from, without what overlays take away.
        optimizers: learned ones by name, how and to which task's trainings they are fitted; whether used or not.
        seeds_per_job: seeds of one task that one job of the workflow runs.
        methods_per_job: methods of one task that one job of the workflow runs.
        members_per_job: how many of them are trained at once; None takes 1 on a CPU and 8 on a GPU.
        studies: names of those whose tables belong to the report.
    """

    run: str
    data_dir: Path | None
    tasks: dict[str, TaskSpec]
    trajectories: dict[str, TrajectorySpec]
    nowcasters: dict[str, MetatrainUnit]
    evaluated: tuple[str, ...]
    seeds: tuple[int, ...]
    schedule: ScheduleSpec
    methods: dict[str, MethodSpec]
    report: ReportSpec
    config: Mapping[str, Any]
    optimizers: Mapping[str, L2OUnit] = field(default_factory=dict)
    seeds_per_job: int = 1
    methods_per_job: int = 1
    members_per_job: int | None = None
    studies: tuple[str, ...] = ()

    @property
    def fitted(self) -> tuple[str, ...]:
        """Names of the nowcasters that a method needs, in the order of the methods."""
        sources = (m.source for m in self.methods.values() if m.nowcaster == "metatrained" and m.source is not None)
        return tuple(dict.fromkeys(sources))

    @property
    def collected(self) -> tuple[str, ...]:
        """Tasks whose trajectories those nowcasters are fitted to."""
        return tuple(dict.fromkeys(task for name in self.fitted for task in self.nowcasters[name].tasks))

    @property
    def learned(self) -> tuple[str, ...]:
        """Names of the learned optimizers that a method needs, in the order of the methods."""
        sources = (m.source for m in self.methods.values() if m.nowcaster == "l2o" and m.source is not None)
        return tuple(dict.fromkeys(sources))

    @property
    def used(self) -> tuple[str, ...]:
        """Tasks that the run reads data of."""
        learned_on = [self.optimizers[name].task.id for name in self.learned]
        return tuple(dict.fromkeys([*self.collected, *learned_on, *self.evaluated]))

    @property
    def evaluations(self) -> tuple[tuple[str, str, int], ...]:
        """Task, method and seed of every training run of the evaluation."""
        return tuple(
            (task, method, seed)
            for task in self.evaluated
            for method in self.methods
            if self.report.plans(task, method)
            for seed in self.seeds
        )

    @property
    def jobs(self) -> tuple[EvaluationJob, ...]:
        """The jobs of the workflow that make the runs of the evaluation; each run is in one of them."""
        tasks: dict[tuple[str, ...], list[str]] = {}
        for task in self.evaluated:
            methods = [method for method in self.methods if self.report.plans(task, method)]
            waiting = [method for method in methods if self.methods[method].source is not None]
            for alike in ([method for method in methods if method not in waiting], waiting):
                for together in _chunks(alike, self.methods_per_job):
                    tasks.setdefault(together, []).append(task)
        seeds = _chunks(self.seeds, self.seeds_per_job)
        return tuple(EvaluationJob(tuple(on), each, chunk) for each, on in tasks.items() for chunk in seeds)

    def shards(self, task: str) -> range:
        """Numbers of a task's shards."""
        spec = self.trajectories[task]
        return range(-(-spec.models // spec.models_per_shard))

    def data_files(self, task: str) -> list[str]:
        """Local files that a task's data are read from: those that its entry names, the files of a folder, its code."""
        data, named = self.tasks[task].data, []
        if data.path is not None and data.name in ("table", "text") and os.path.isdir(data.path):
            with suppress(FileNotFoundError, ValueError):  # what does not go together is the job's to say
                named = [str(path) for paths in split_files(data).values() for path in paths]
        elif data.path is not None and os.path.isfile(data.path):
            named = [data.path]
        return [*named, *files(data)]

    def weights(self, method: str) -> list[str]:
        """The file that a method's nowcaster is read from, if it is one: fitted by this run, or given."""
        spec = self.methods[method]
        if spec.nowcaster == "metatrained" and spec.source is not None:
            return [Layout(self.run).checkpoint(spec.source)]
        if spec.nowcaster == "l2o" and spec.source is not None:
            return [Layout(self.run).l2o_checkpoint(spec.source)]
        given = spec.path if spec.nowcaster in ("checkpoint", "l2o") else None
        return [given] if given is not None and os.path.isfile(given) else []

    def sources(self, task: str, *methods: str) -> list[str]:
        """The Python files outside this package that define parts of a task, and of methods that it is trained with."""
        return files(self.tasks[task], *(self.methods[method].on(task) for method in methods))

    @property
    def packages(self) -> list[str]:
        """The installed packages that define parts of its tasks, as ``name version``."""
        return packages(*(self.tasks[task] for task in self.used))


def _chunks(items: Sequence[T], size: int) -> list[tuple[T, ...]]:
    """Items in their order, so many together; the last chunk may be shorter."""
    return [tuple(items[first : first + size]) for first in range(0, len(items), size)]
