"""The config file as a whole: its sections, and entries with the fields of a spec that the config says nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from typing import Annotated, TypeVar, get_type_hints

from nino.specs.base import Spec
from nino.specs.l2o import L2OSpec
from nino.specs.metatrain import MetatrainSpec
from nino.specs.methods import MethodSpec
from nino.specs.report import ReportSpec
from nino.specs.schedule import ScheduleSpec
from nino.specs.studies import OverheadSpec, PermutationSpec
from nino.specs.tasks import TaskSpec
from nino.specs.trajectories import TrajectorySpec
from nino.specs.values import Allowed, Count, Name, Names, RunName, Seed, Text, Word

T = TypeVar("T", bound=Spec)


def entry_of(spec: type[Spec], without: tuple[str, ...] = (), default: str = "") -> Callable[[type[T]], type[T]]:
    """Give a class the fields of a spec, for an entry of the config.

    Args:
        spec: the dataclass whose fields the entry gets.
        without: fields of the spec that the entry does not get.
        default: in words, where the value of a field that is left out comes from; empty for the spec's own default.
    """

    def complete(entry: type[T]) -> type[T]:
        hints = get_type_hints(spec, include_extras=True)
        taken = {each.name: each for each in fields(spec) if each.name not in {*without, *entry.__annotations__}}
        for name, each in taken.items():
            if default and each.default is not MISSING:
                hints[name] = hints[name] | None
                setattr(entry, name, field(default=None, metadata={"otherwise": default}))
            elif each.default_factory is not MISSING:
                setattr(entry, name, field(default_factory=each.default_factory))
            elif each.default is not MISSING:
                setattr(entry, name, each.default)
        entry.__annotations__ = {name: hints[name] for name in taken} | entry.__annotations__
        entry.entry_of = spec  # type: ignore[attr-defined]  # its docstring says what these fields mean
        return dataclass(frozen=True, kw_only=True)(entry)

    return complete


@entry_of(TaskSpec, without=("id",))
class TaskEntry(Spec):
    """A task: data x architecture x recipe x target."""


@entry_of(MetatrainSpec, without=("kind", "model"))
class FitEntry(Spec):
    """How nowcasters are fitted to trajectories; an entry of metatrain.nowcasters may override any of it."""


@entry_of(MetatrainSpec, default="that of metatrain.recipe")
class NowcasterEntry(Spec):
    """A nowcaster to fit.

    Args:
        tasks: tasks whose trajectories it is fitted to; without it metatrain.tasks [names].
    """

    tasks: Names | None = None


@entry_of(L2OSpec)
class OptimizerEntry(Spec):
    """A learned optimizer to fit, by truncated unrolls of trainings of a task.

    Args:
        task: task whose trainings it is fitted to [name].
    """

    task: Word


@entry_of(MethodSpec, without=("name",))
class MethodEntry(Spec):
    """A row of the results table.

    Args:
        tasks: the tasks of evaluate.tasks that it is run on; without it all [names].
    """

    tasks: Names | None = None


@entry_of(ReportSpec, ("run", "tasks", "methods", "seeds", "schedule", "trained_on", "only", "overlays"))
class ReportSection(Spec):
    """Tables, figures and statistics.

    Args:
        studies: studies whose tables belong to the run and its report: tables of nino/report/studies.yaml, or those
            under `studies` [names].
    """

    baseline: Word
    studies: Annotated[tuple[Word, ...], Allowed(unique=True)] = ()


@dataclass(frozen=True, kw_only=True)
class MetatrainSection(Spec):
    """Fitting nowcasters to trajectories.

    Args:
        tasks: tasks whose trajectories nowcasters are fitted to [names].
        nowcasters: by name: the nowcasters to fit.
        optimizers: by name: the learned optimizers to fit, for methods of nowcaster l2o.
    """

    tasks: Names
    nowcasters: dict[Name, NowcasterEntry]
    recipe: FitEntry
    optimizers: dict[Name, OptimizerEntry] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EvaluateSection(Spec):
    """Runs of each task with each method.

    Args:
        tasks: tasks to evaluate [names].
        seeds: a run a seed, paired between methods; none may be a seed of the trajectories [seeds].
        seeds_per_job: seeds of one task that one job of the workflow runs; the job asks for the time of all its runs
            [seeds].
        methods_per_job: methods of one task that one job of the workflow runs, one after another; those that wait for
            a fit share no job with those that do not [methods].
        members_per_job: how many seeds of such a job are trained at once, as one stacked network; numbers differ by
            rounding alone, memory grows with it; without it 1 on a CPU and 8 on a GPU. What cannot be stacked (dropout,
            muon, random, l2o, accept: loss) is trained one at a time whatever it says [seeds].
        rows: which of the methods are run, in the order of the tables' rows; of the others nothing is fitted,
            downloaded or shown. The baseline must be listed [names; default all of evaluate.methods].
        methods: by name: what can be a row of the tables.
    """

    tasks: Names
    seeds: Annotated[tuple[Seed, ...], Allowed(min_length=1, unique=True)]
    seeds_per_job: Count = 1
    methods_per_job: Count = 1
    members_per_job: Count | None = None
    schedule: ScheduleSpec
    rows: Names | None = None
    methods: Annotated[dict[Name, MethodEntry], Allowed(min_length=1)]


@dataclass(frozen=True)
class StudiesSection(Spec):
    """Studies that are no training runs, by name."""

    permutation: PermutationSpec | None = None
    overhead: OverheadSpec | None = None


@dataclass(frozen=True, kw_only=True)
class Config(Spec):
    """Configuration of a nino run: config.yaml with the overlays laid over it.

    Args:
        run: name of the run: everything is written to results/<run>/ [text].
        data_dir: folder of downloaded data and token caches; without it the user's cache; in this as in
            all paths of a config, ~ is the user's home [path].
        tasks: the catalogue of tasks by name; which of them run is said in metatrain and evaluate.
        trajectories: by task: the networks trained for meta-training.
    """

    run: RunName
    data_dir: Text | None = None
    tasks: Annotated[dict[Name, TaskEntry], Allowed(min_length=1)]
    trajectories: dict[Name, TrajectorySpec]
    metatrain: MetatrainSection
    evaluate: EvaluateSection
    studies: StudiesSection = field(default_factory=StudiesSection)
    report: ReportSection
