"""The report: which runs belong to it, how they are compared, and the names of its tables and figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from nino.specs.base import Spec
from nino.specs.methods import CONTROLS, WITHOUT_NOWCASTS, MethodSpec
from nino.specs.recipe_words import recipe_sentences
from nino.specs.schedule import ScheduleSpec
from nino.specs.tasks import TaskSpec
from nino.specs.values import Allowed, Count, Name, RunName, Seed, Word, first_repeated

Remark = Annotated[
    str, Allowed(min_length=1, meaning="What a reader of a task's numbers must know, a sentence [text; required]")
]


@dataclass(frozen=True)
class ReportSpec(Spec):
    """Tables, figures and statistics of one run.

    Args:
        run: name of the run, results/<run> [text].
        tasks: the evaluated tasks, in the tables' order.
        methods: the rows of the tables, in their order; the baseline among them.
        seeds: evaluation seeds; the seed is the unit of every statistic [seeds].
        schedule: when nowcasts happen.
        trained_on: ids of the tasks that nowcasters were meta-trained on [names].
        baseline: the method that speed-ups are measured against, seed by seed [name].
        confidence: level of intervals [fraction].
        resamples: bootstrap resamples [resamples].
        seed: seed of the bootstrap [seed].
        notes: by task: a remark, such as how its data differs from the original, shown under every table and in the
            caption of every figure that holds the task.
        only: by method: the tasks that it is planned on; methods that are not named are planned on all of them.
        overlays: the config files that, laid over config.yaml, are the run's config; None where no files are [paths].

    Raises:
        ValueError: where the baseline is no method or not planned on every task, or a task, method or seed stands
            twice.
    """

    run: RunName
    tasks: tuple[TaskSpec, ...]
    methods: tuple[MethodSpec, ...]
    seeds: tuple[Seed, ...]
    schedule: ScheduleSpec = field(default_factory=ScheduleSpec)
    trained_on: tuple[Name, ...] = ()
    baseline: Word = "base"
    confidence: Annotated[float, Allowed(gt=0, lt=1)] = 0.95
    resamples: Count = 10_000
    seed: Seed = 0
    notes: Mapping[Name, Remark] = field(default_factory=dict)
    only: Mapping[Name, tuple[Name, ...]] = field(default_factory=dict)
    overlays: tuple[Word, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse what no comparison can be made of."""
        names = [method.name for method in self.methods]
        if self.baseline not in names:
            raise ValueError(f"`baseline` (={self.baseline!r}) must be one of the methods: {', '.join(names)}")
        seeds = [str(seed) for seed in self.seeds]
        for kind, values in (("tasks", [task.id for task in self.tasks]), ("methods", names), ("seeds", seeds)):
            if (twice := first_repeated(values)) is not None:
                raise ValueError(f"`{kind}`: {twice} stands there twice; each may stand there once")
        if self.baseline in self.only:
            raise ValueError(
                f"`only` names the baseline {self.baseline!r}: every task is compared with it; leave it out"
            )
        if not 0 < self.confidence < 1:
            raise ValueError(f"`confidence` (={self.confidence}) must lie between 0 and 1")

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
        """What a reader of some tasks (default: all) must know: the rows that have recipes of their own, and notes."""
        shown = tasks or tuple(task.id for task in self.tasks)
        notes = tuple(f"{task}: {self.notes[task]}" for task in shown if task in self.notes)
        return (*recipe_sentences(self.methods, shown), *notes)

    @property
    def contenders(self) -> tuple[str, ...]:
        """Methods that compete: neither the baseline nor a control."""
        return tuple(m.name for m in self.methods if m.name != self.baseline and m.nowcaster not in CONTROLS)

    @property
    def controls(self) -> tuple[str, ...]:
        """Methods that bound the table: no jump, noise, a line, the run's own future."""
        return tuple(m.name for m in self.methods if m.name != self.baseline and m.nowcaster in CONTROLS)

    def nowcasting(self, task: str | None = None) -> tuple[str, ...]:
        """The contenders that make nowcasts, of those planned on a task or of all."""
        kinds = {method.name: method.nowcaster for method in self.methods}
        planned = (m for m in self.contenders if task is None or self.plans(task, m))
        return tuple(method for method in planned if kinds[method] not in WITHOUT_NOWCASTS)

    def without_nowcasts(self, task: str, method: str) -> str | None:
        """The row that trains a task as a method does, by the same recipe, but makes no nowcast; None if none does."""
        rows = {each.name: each for each in self.methods}
        if rows[method].nowcaster in WITHOUT_NOWCASTS:
            return None
        recipe = rows[method].recipe_of(self.task(task))
        plain = (m for m in self.row_order if rows[m].nowcaster == "none" and self.plans(task, m))
        return next((m for m in plain if rows[m].recipe_of(self.task(task)) == recipe), None)

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


TABLES = ("table1", "table2", "summary", "fixed_steps", "nowcasts", "timing", "origins")
TABLE_FORMATS = ("csv", "md", "tex", "html", "rst")
TASK_FIGURES = ("curves", "worth", "spikes", "jumps")
GRAPH_FIGURES = ("graph-adjacency", "graph-layers")
RUN_FIGURES = ("profile", "schedule")
FIGURE_FORMATS = ("svg", "png")


@dataclass(frozen=True)
class FigureName:
    """One figure.

    Args:
        kind: what it shows, and the name of its caption in ``nino/workflow/report/``.
        task: id of its task; empty for a figure over all tasks.
    """

    kind: str
    task: str = ""

    @property
    def name(self) -> str:
        """Stem of its files.

        >>> FigureName("curves", "digits-8").name
        'curves-digits-8'
        """
        return f"{self.kind}-{self.task}" if self.task else self.kind


def figures(spec: ReportSpec, graphs: bool = True) -> list[FigureName]:
    """All figures of a report.

    Args:
        spec: the report.
        graphs: whether pictures of the tasks' neural graphs belong to it.
    """
    kinds = TASK_FIGURES + (GRAPH_FIGURES if graphs else ())
    return [FigureName(kind, task.id) for task in spec.tasks for kind in kinds] + [FigureName(k) for k in RUN_FIGURES]
