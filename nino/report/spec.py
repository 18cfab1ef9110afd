"""What the report is told: which runs belong to it and how they are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from nino.specs import MethodSpec, ScheduleSpec, Spec, TaskSpec

CONTROLS = ("identity", "random", "linear", "oracle")  # nowcasters that bound a table from below and above


@dataclass(frozen=True)
class ReportSpec(Spec):
    """The report of one results directory.

    Args:
        run: name of the run, ``results/<run>``.
        tasks: the evaluated tasks, in the tables' order.
        methods: the rows of the tables, in their order; ``baseline`` among them.
        seeds: evaluation seeds; the seed is the unit of every statistic.
        schedule: when nowcasts happen.
        trained_on: ids of the tasks that nowcasters were meta-trained on.
        baseline: name of the method that the others are compared with, seed by seed.
        confidence: level of intervals, in (0, 1).
        resamples: bootstrap resamples.
        seed: of the bootstrap's random generator.
        notes: remarks by task id, such as how its data differs from the original; shown under every table and in the
            caption of every figure that holds the task.
        only: method -> the tasks that it is planned on; methods that are not named are planned on all of them.
        overlays: the config files that, laid over config.yaml, are the run's config; None where no files are.

    Raises:
        ValueError: where the baseline is no method or not planned on every task, or a task, method or seed stands
            twice.
    """

    run: str
    tasks: tuple[TaskSpec, ...]
    methods: tuple[MethodSpec, ...]
    seeds: tuple[int, ...]
    schedule: ScheduleSpec = field(default_factory=ScheduleSpec)
    trained_on: tuple[str, ...] = ()
    baseline: str = "base"
    confidence: float = 0.95
    resamples: int = 10_000
    seed: int = 0
    notes: Mapping[str, str] = field(default_factory=dict)
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    overlays: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse what no comparison can be made of."""
        names = [method.name for method in self.methods]
        if self.baseline not in names:
            raise ValueError(f"`baseline` (={self.baseline!r}) must be one of the methods: {', '.join(names)}")
        seeds = [str(seed) for seed in self.seeds]
        for kind, values in (("tasks", [task.id for task in self.tasks]), ("methods", names), ("seeds", seeds)):
            if twice := sorted({value for value in values if values.count(value) > 1}):
                raise ValueError(f"`{kind}`: {twice[0]} stands there twice; each may stand there once")
        if self.baseline in self.only:
            raise ValueError(
                f"`only` names the baseline {self.baseline!r}: every task is compared with it; leave it out"
            )
        if not 0 < self.confidence < 1:
            raise ValueError(f"`confidence` (={self.confidence}) must lie between 0 and 1")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from a nested mapping of plain values.

        Raises:
            ValueError: for an unknown key.
        """
        nested = dict(values)
        nested["tasks"] = tuple(TaskSpec.from_dict(task) for task in values["tasks"])
        nested["methods"] = tuple(MethodSpec.from_dict(method) for method in values["methods"])
        nested["seeds"] = tuple(values["seeds"])
        nested["trained_on"] = tuple(values.get("trained_on", ()))
        nested["only"] = {method: tuple(tasks) for method, tasks in values.get("only", {}).items()}
        if values.get("overlays") is not None:
            nested["overlays"] = tuple(values["overlays"])
        if "schedule" in values:
            nested["schedule"] = ScheduleSpec.from_dict(values["schedule"])
        return super().from_dict(nested)

    def task(self, task: str) -> TaskSpec:
        """The task of that id."""
        return next(t for t in self.tasks if t.id == task)

    def label(self, method: str) -> str:
        """How tables and figures call a method."""
        return next(m.label or m.name for m in self.methods if m.name == method)

    def plans(self, task: str, method: str) -> bool:
        """Whether a method is to be run on a task."""
        return task in self.only.get(method, (task,))

    def planned_tasks(self, method: str) -> tuple[TaskSpec, ...]:
        """The tasks that a method is to be run on."""
        return tuple(task for task in self.tasks if self.plans(task.id, method))

    def remarks(self, *tasks: str) -> tuple[str, ...]:
        """The remarks on some tasks, on all of them without names, in the tables' order; each begins with its task."""
        shown = tasks or tuple(task.id for task in self.tasks)
        return tuple(f"{task}: {self.notes[task]}" for task in shown if task in self.notes)

    @property
    def contenders(self) -> tuple[str, ...]:
        """Methods that compete: neither the baseline nor a control."""
        return tuple(m.name for m in self.methods if m.name != self.baseline and m.nowcaster not in CONTROLS)

    @property
    def controls(self) -> tuple[str, ...]:
        """Methods that bound the table: no jump, noise, a line, the run's own future."""
        return tuple(m.name for m in self.methods if m.name != self.baseline and m.nowcaster in CONTROLS)

    @property
    def row_order(self) -> tuple[str, ...]:
        """Rows of a table: the baseline, the contenders, then the controls."""
        return (self.baseline, *self.contenders, *self.controls)

    @property
    def realizable(self) -> tuple[str, ...]:
        """The methods of a profile: planned on every task, and not the oracle, which looks into the future."""
        oracles = {m.name for m in self.methods if m.nowcaster == "oracle"}
        everywhere = (name for name in self.row_order if len(self.planned_tasks(name)) == len(self.tasks))
        return tuple(name for name in everywhere if name not in oracles)
