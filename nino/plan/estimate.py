"""The plan of a run: calibrations times counts, a row per stage and task."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from nino.config.experiment import Experiment
from nino.config.layout import Layout
from nino.ensemble import GPU_MEMBERS
from nino.files import existing_folder
from nino.graphs import NeuralGraph
from nino.measure import resident_bytes
from nino.metatrain.loop import fresh_nowcaster
from nino.nowcasters import NiNoNet, WNNPlus
from nino.nowcasters.base import Nowcaster
from nino.plan.calibrate import Calibration, calibrate
from nino.plan.disk import needs, stored_states
from nino.plan.fits import FitCalibration, calibrate_fit
from nino.plan.learned import L2OCalibration, calibrate_l2o
from nino.plan.measured import Measured
from nino.plan.rows import Plan, Row
from nino.plan.stand_ins import stand_in
from nino.specs import MethodSpec, TaskSpec
from nino.specs.method_schedule import method_schedule
from nino.specs.methods import WITHOUT_NOWCASTS
from nino.specs.recipe_words import recipe_sentences
from nino.tasks import default_data_dir
from nino.tasks.model_graphs import model_graph
from nino.tasks.networks import sketch_model
from nino.tasks.sizes import DataSizes, UnknownSizesError, data_sizes, missing_file, tensor_sizes
from nino.trajectories.format import num_shards

logger = logging.getLogger(__name__)

EVALUATIONS = 11  # measurements of each network that is collected
REPORT_JOBS = 3


def plan(
    run: Experiment,
    device: str = "cpu",
    *,
    measured: Measured | None = None,
    calibrated: Callable[[Plan], None] | None = None,
    progress: bool = True,
) -> Plan:
    """Estimate the cost of a run from short calibrations, which take seconds per task, whatever its size.

    Args:
        run: the run.
        device: where its jobs will run, as in ``nino.device.device_names``.
        measured: calibrations that were made before; None makes all of them.
        calibrated: called with the plan so far after each calibration that is made here. If it is None and ``measured``
            is given, no further calibrations are made.
        progress: show a bar on a terminal.

    Returns:
        The plan; a row holds None for what could not be estimated, and a note names it.
    """
    planner = _Planner(run, torch.device(device))
    if measured is not None:
        planner.take(measured, complete=calibrated is None)
    with (
        one_thread(planner.device),
        tqdm(total=planner.parts, desc="calibrating", disable=None if progress else True) as bar,
    ):
        planner.work(bar, calibrated or (lambda _: None))
    return planner.finish()


@contextmanager
def one_thread(device: torch.device) -> Iterator[None]:
    """Compute on one core, as the workflow's jobs do where there is no GPU."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Planner:
    """Collects sizes, calibrations and notes, then puts a plan together."""

    def __init__(self, run: Experiment, device: torch.device) -> None:
        self.run, self.device, self.paths = run, device, Layout(run.run)
        self.plan = Plan(run.run, device.type)
        self.sizes: dict[str, DataSizes] = {}
        self.tensors: dict[str, list[int]] = {}
        self.nets: dict[str, NiNoNet | WNNPlus] = {}
        self.notes: dict[str, list[str]] = {}
        self._learn_sizes()
        self.base = resident_bytes() if device.type == "cpu" else 0
        self.complete = False

    @property
    def parts(self) -> int:
        return len(self.sizes) + len(self.run.fitted) + len(self.run.learned)

    def _learn_sizes(self) -> None:
        folder = self.run.data_dir or default_data_dir()
        for task in self.run.used:
            spec = self.run.tasks[task]
            if (missing := missing_file(spec.data, folder)) is not None:
                self._note(task, f"data that is not there yet ({missing})")
            try:
                sizes = data_sizes(spec, folder, Path(self.paths.data(task)))
            except UnknownSizesError as error:
                self._note(task, f"not estimated; {error}")
                continue
            self.sizes[task], self.tensors[task] = sizes, tensor_sizes(spec, sizes)
            if sizes.basis not in ("the data", "the data set's definition"):
                self._note(task, f"about {sum(sizes.examples.values()):,} blocks, by {sizes.basis}")

    def take(self, measured: Measured, complete: bool) -> None:
        """Use calibrations that were made before; those that lack are made too, unless these are to be ``complete``."""
        self.complete = complete
        self.plan.calibrations |= {name: t for name, t in measured.calibrations.items() if name in self.sizes}
        self.plan.fits |= {name: times for name, times in measured.fits.items() if name in self.run.fitted}
        self.plan.learned |= {name: times for name, times in measured.learned.items() if name in self.run.learned}

    def _is_left(self, name: str, made: Mapping[str, Any]) -> bool:
        """Whether a calibration is still to be made."""
        if name not in made and self.complete:
            self._note(name, "not estimated; the calibrations given hold none")
        return name not in made and not self.complete

    def _note(self, name: str, text: str) -> None:
        names = self.notes.setdefault(text, [])
        if name not in names:
            names.append(name)

    def work(self, bar: tqdm, calibrated: Callable[[Plan], None]) -> None:
        """Calibrate tasks, then fits."""
        for name in self.run.fitted:
            entry = self.run.nowcasters[name]
            if all(task in self.sizes for task in entry.tasks):
                words = [self.sizes[task].outputs for task in entry.tasks if self.sizes[task].kind == "language"]
                self.nets[name] = fresh_nowcaster(entry.metatrain, words)
        for task in self.sizes:
            bar.set_postfix_str(task)
            if self._is_left(task, self.plan.calibrations):
                self._task(task)
                calibrated(self.plan)
            bar.update()
        for name in self.run.fitted:
            bar.set_postfix_str(name)
            if name in self.nets and self._is_left(name, self.plan.fits):
                graphs = {task: self._graph(task) for task in self.run.nowcasters[name].tasks}
                spec = self.run.nowcasters[name].metatrain
                self.plan.fits[name] = calibrate_fit(spec, self.nets[name], graphs, self.device)
                calibrated(self.plan)
            bar.update()
        for name in self.run.learned:
            bar.set_postfix_str(name)
            optimizer = self.run.optimizers[name]
            sizes = self.sizes.get(optimizer.task.id)
            if sizes is not None and self._is_left(name, self.plan.learned):
                self.plan.learned[name] = calibrate_l2o(optimizer.l2o, optimizer.task, sizes, self.device)
                calibrated(self.plan)
            bar.update()

    def _task(self, task: str) -> None:
        evaluated = [m for t, m in self._runs() if t == task]
        built = {name: self._nowcaster(self.run.methods[name]) for name in dict.fromkeys(evaluated)}
        nowcasters = {name: nowcaster for name, nowcaster in built.items() if nowcaster is not None}
        folder = existing_folder(Path(self.paths.root))
        schedules = {name: method_schedule(self.run.methods[name], self.run.schedule) for name in nowcasters}
        collected = self.run.trajectories[task] if task in self.run.collected else None
        spec, sizes = self.run.tasks[task], self.sizes[task]
        methods = {name: self.run.methods[name] for name in built}
        recipes = {name: row.recipe_of(spec) for name, row in methods.items() if row.on(task).recipe is not None}
        calibrations = self.plan.calibrations
        calibrations[task] = calibrate(spec, sizes, self.device, nowcasters, schedules, folder, collected, recipes)

    def _nowcaster(self, method: MethodSpec) -> Nowcaster | None:
        if method.nowcaster == "metatrained":
            return self.nets.get(str(method.source))
        nowcaster, note = stand_in(method, self.run.schedule)
        if note:
            self._note(method.name, note)
        return nowcaster

    def _graph(self, task: str) -> NeuralGraph:
        spec, sizes = self.run.tasks[task].model, self.sizes[task]
        data = sizes.synthetic(2, 1, 1)
        return model_graph(spec, sketch_model(spec, data), data)

    def _runs(self) -> list[tuple[str, str]]:
        """Task and method of every run that is evaluated."""
        return [(task, method) for task, method, _ in self.run.evaluations]

    def finish(self) -> Plan:
        """Put rows together."""
        for task, times in self.plan.calibrations.items():
            for part in times.scaled:
                self._note(task, f"timed on {part}, scaled to the whole")
        counts = {name: sum(p.numel() for p in net.parameters()) for name, net in self.nets.items()}
        self.plan.needs = needs(self.run, self.sizes, self.tensors, counts)
        rows = self.plan.rows
        rows.append(Row("data", f"{len(self.run.used)} tasks", len(self.run.used), size=self._size("data")))
        rows += [self._trajectories(task) for task in self.run.collected]
        fits, optimizers = self.run.nowcasters, self.run.optimizers
        rows += [self._fit(name, self.plan.fits.get(name), fits[name].metatrain) for name in self.run.fitted]
        rows += [self._fit(name, self.plan.learned.get(name), optimizers[name].l2o) for name in self.run.learned]
        rows += [self._evaluations(task) for task in self.run.evaluated]
        rows.append(Row("report", self.run.run, REPORT_JOBS, size=self._size("report")))
        self.plan.notes = [f"{', '.join(names)}: {text}" for text, names in self.notes.items()]
        self.plan.notes += recipe_sentences(tuple(self.run.methods.values()), self.run.evaluated)
        self.plan.notes.append("all of it timed on random data of the right shape")
        self.plan.notes.append("not timed: fetching data, making tokens, joining shards, tables and figures")
        return self.plan

    def _size(self, stage: str, name: str | None = None) -> int | None:
        sizes = [need.size for need in self.plan.needs if need.stage == stage and name in (None, need.name)]
        return sum(sizes) if sizes or name is None else None

    def _trajectories(self, task: str) -> Row:
        spec = self.run.trajectories[task]
        jobs = num_shards(spec) + 2
        calibration = self.plan.calibrations.get(task)
        if calibration is None:
            return Row("trajectories", task, jobs)
        steps = (spec.steps or self.run.tasks[task].recipe.steps) + 1
        states = stored_states(self.run.tasks[task], spec)
        measured = min(EVALUATIONS, states) * (calibration.validation + calibration.test)
        network = steps * calibration.collect_step + states * calibration.write + measured
        longest = min(spec.models, spec.models_per_shard) * network
        memory = self.base + calibration.collect_bytes
        return Row("trajectories", task, jobs, spec.models * network, longest, self._size("trajectories", task), memory)

    def _fit(self, name: str, times: FitCalibration | L2OCalibration | None, spec: Any) -> Row:
        size = self._size("metatrain", name)
        if times is None:
            return Row("metatrain", name, 1, size=size)
        seconds = times.seconds(spec)
        return Row("metatrain", name, 1, seconds, seconds, size, self.base + times.memory)

    def _evaluations(self, task: str) -> Row:
        jobs = [job for job in self.run.jobs if task in job.tasks]
        methods = {name: self.run.methods[name] for job in jobs for name in job.methods}
        calibration, size = self.plan.calibrations.get(task), self._size("evaluate", task)
        lacks = [m.name for m in methods.values() if m.nowcaster == "metatrained" and m.source not in self.nets]
        if calibration is None or lacks:
            return Row("evaluate", task, len(jobs), size=size)
        times = {name: self._run_seconds(self.run.tasks[task], method, calibration) for name, method in methods.items()}
        together = self.run.members_per_job or (1 if self.device.type == "cpu" else GPU_MEMBERS)
        most = min(together, max(len(job.seeds) for job in jobs))
        memory = self.base + most * calibration.train_bytes + max(calibration.nowcast_bytes.values(), default=0)
        # seeds at once are timed as one after another: how much faster they are was not calibrated
        seconds = [sum(times[method] for method, _ in job.runs) for job in jobs]
        return Row("evaluate", task, len(jobs), sum(seconds), max(seconds), size, memory)

    def _run_seconds(self, spec: TaskSpec, method: MethodSpec, calibration: Calibration) -> float:
        every, steps = spec.evaluation, spec.recipe.steps
        tests, validations = steps // every.test_every, steps // every.validation_every
        if calibration.check is None:
            measured = tests * calibration.test
        else:
            measured = tests * calibration.check + validations * calibration.test
        step = calibration.own_steps.get(method.name, calibration.step)
        seconds = steps * step + measured + validations * calibration.validation
        if method.nowcaster in WITHOUT_NOWCASTS:
            return seconds
        schedule = method_schedule(method, self.run.schedule, steps)
        nowcasts = schedule.nowcasts(steps)
        if method.nowcaster == "oracle":
            return seconds + sum(map(schedule.reach, nowcasts)) * step
        return seconds + len(nowcasts) * calibration.nowcasts[method.name]
