"""A checked config as dataclasses: what one run consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nino.config.layout import Layout
from nino.specs import (
    L2OUnit,
    MetatrainUnit,
    MethodSpec,
    Reference,
    ReportSpec,
    ScheduleSpec,
    TaskSpec,
    TrajectorySpec,
)


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
        seeds_per_job: seeds of one task and method that one job of the workflow runs.
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
    def chunks(self) -> tuple[tuple[int, ...], ...]:
        """The seeds in their order, those of one job together."""
        each = self.seeds_per_job
        return tuple(self.seeds[first : first + each] for first in range(0, len(self.seeds), each))

    def shards(self, task: str) -> range:
        """Numbers of a task's shards."""
        spec = self.trajectories[task]
        return range(-(-spec.models // spec.models_per_shard))

    def data_files(self, task: str) -> list[str]:
        """Local files that a task's data are read from, where its entry names one."""
        path = self.tasks[task].data.path
        return [path] if path is not None and Path(path).is_file() else []

    def weights(self, method: str) -> list[str]:
        """The file that a method's nowcaster is read from, if it is one: fitted by this run, or given."""
        spec = self.methods[method]
        if spec.nowcaster == "metatrained" and spec.source is not None:
            return [Layout(self.run).checkpoint(spec.source)]
        if spec.nowcaster == "l2o" and spec.source is not None:
            return [Layout(self.run).l2o_checkpoint(spec.source)]
        given = spec.path if spec.nowcaster in ("checkpoint", "l2o") else None
        return [given] if given is not None and Path(given).is_file() else []

    def sources(self, method: str) -> list[str]:
        """The Python file that a method's nowcaster is defined in, where it is a class of the user's own."""
        reference = Reference.parse(self.methods[method].nowcaster)
        return [str(reference.file)] if reference is not None and reference.file is not None else []
