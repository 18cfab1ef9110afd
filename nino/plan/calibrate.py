"""Short real runs of a task, on random data of the right shape, that time a step, a measurement, a state, a nowcast.

The time of a step depends on shapes, not on the content of images. Of work that is too large for a short run only a
part is done, on a share of the batch or of the words, and its time is scaled to the whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from nino.ensemble import Ensemble, members_at_once
from nino.graphs import NeuralGraph
from nino.measure import peak_bytes, seconds
from nino.nowcasters.base import Nowcaster
from nino.schedule import Schedule
from nino.specs import RecipeSpec, TaskSpec, TrajectorySpec
from nino.tasks import DataSizes, Task
from nino.tasks.model_graphs import task_graph
from nino.tasks.sizes import tensor_sizes
from nino.training import Training
from nino.trajectories import writing_shard
from nino.trajectories.collect import make_header

# Elements of the largest output that a calibration may hold in memory.
CPU_ELEMENTS, GPU_ELEMENTS = 2**26, 2**31
# Largest network, in parameters, whose nowcast is timed whole; of larger ones with fewer words.
CPU_PARAMETERS, GPU_PARAMETERS = 2_000_000, 200_000_000
STATES = 8
# Images that a check of a target looks at, on average over a run up to its target: 1,400 to 2,100 of 10,000, by the
# seconds of evaluation in results/*/evaluate/*/*/*/log.csv. Far below the target there are a few hundred, near it more.
CHECKED = 1700
IMAGES = 1024


@dataclass(frozen=True)
class Calibration:
    """The cost of the parts of a task's jobs.

    Args:
        step: seconds of a training step.
        collect_step: seconds of a step of one of the networks that a shard's job trains at once.
        validation: seconds of measuring the metric on the whole validation split.
        test: the same of the test split.
        check: seconds of ruling the target out, hardest images first; None for a task that does not.
        write: seconds of copying, converting and writing a state.
        nowcasts: seconds of a nowcast, by method.
        train_bytes: memory of a training beside the process's own [bytes].
        collect_bytes: memory of all networks that are trained at once [bytes].
        nowcast_bytes: memory of a nowcast beside that of the training, by method [bytes].
        scaled: what was timed in part, in words.
        own_steps: seconds of a training step, by method with a recipe of its own.
    """

    step: float
    collect_step: float
    validation: float
    test: float
    check: float | None
    write: float
    nowcasts: Mapping[str, float] = field(default_factory=dict)
    train_bytes: int = 0
    collect_bytes: int = 0
    nowcast_bytes: Mapping[str, int] = field(default_factory=dict)
    scaled: tuple[str, ...] = ()
    own_steps: Mapping[str, float] = field(default_factory=dict)


def calibrate(
    spec: TaskSpec,
    sizes: DataSizes,
    device: torch.device,
    nowcasters: Mapping[str, Nowcaster],
    schedules: Mapping[str, Schedule],
    folder: Path,
    collected: TrajectorySpec | None = None,
    recipes: Mapping[str, RecipeSpec] | None = None,
) -> Calibration:
    """Time the parts of a task's jobs.

    Args:
        spec: the task.
        sizes: sizes of its data.
        device: where its jobs run.
        nowcasters: by method.
        schedules: of their nowcasts, by method.
        folder: of the trajectories; a temporary folder is made in it.
        collected: how trajectories are collected; None where none are.
        recipes: of the methods that have one of their own.

    Returns:
        Seconds and bytes; bytes of a training are those of the largest recipe.
    """
    batch = _part_of_batch(spec, sizes, device)
    part = replace(spec, recipe=replace(spec.recipe, batch_size=batch, accumulate=1))
    measured = min(sizes.examples["test"], max(2, _fitting(sizes, device) // 8) if sizes.kind == "language" else IMAGES)
    task = Task(part, sizes.synthetic(batch, 1, measured), device)
    training = Training(task, 0)
    share = spec.recipe.batch_size / batch
    step, train_bytes = _step(training, share, share / spec.recipe.accumulate)
    own_steps: dict[str, float] = {}
    for method, recipe in (recipes or {}).items():
        own_task = task.with_recipe(replace(recipe, batch_size=batch, accumulate=1))
        own_steps[method], needed = _step(Training(own_task, 0), share, share / recipe.accumulate)
        train_bytes = max(train_bytes, needed)
    together, collect_step = _together(task, collected, step, share)
    example = seconds(lambda: training.evaluate("test"), device) / measured
    times, memory, words = _nowcasts(training, nowcasters, schedules)
    parts = [f"{batch} of {spec.recipe.batch_size} examples a step"] if share > 1 else []
    return Calibration(
        step=step,
        collect_step=collect_step,
        validation=example * sizes.examples["validation"],
        test=example * sizes.examples["test"],
        check=example * min(sizes.examples["test"], CHECKED) if spec.evaluation.hardest_first else None,
        write=_write(task, training, folder),
        nowcasts=times,
        train_bytes=train_bytes + sizes.held_bytes,
        collect_bytes=train_bytes * together + sizes.held_bytes,
        nowcast_bytes=memory,
        scaled=(*parts, *words),
        own_steps=own_steps,
    )


def _part_of_batch(spec: TaskSpec, sizes: DataSizes, device: torch.device) -> int:
    """Examples of a step that a calibration can hold and compute in seconds, at most those computed at once."""
    fitting = _fitting(sizes, device)
    if sizes.kind != "language":  # the more parameters an image goes through, the longer it takes
        fitting = min(fitting, _elements(device) // sum(tensor_sizes(spec, sizes)))
    return max(1, min(spec.recipe.batch_size // spec.recipe.accumulate, fitting))


def _fitting(sizes: DataSizes, device: torch.device) -> int:
    """Examples whose largest output a calibration can hold: the scores, or 16 channels of the images' size."""
    example = sizes.shape[0] * sizes.outputs if sizes.kind == "language" else 16 * math.prod(sizes.shape[1:])
    return _elements(device) // example


def _elements(device: torch.device) -> int:
    return CPU_ELEMENTS if device.type == "cpu" else GPU_ELEMENTS


def _step(training: Training, share: float, room: float) -> tuple[float, int]:
    """Seconds and bytes of a whole step, from a step on a part of its batch; the optimizer's share does not scale.

    Args:
        training: its batches are of the part's size.
        share: size of the batch over that of the part.
        room: examples computed at once over those of the part.
    """
    device = training.task.device
    memory = peak_bytes(training.step, device)
    held = sum(p.numel() * p.element_size() for p in training.parameters)
    # the first step's growth holds the gradients and the optimizer's moments, which do not scale either
    fixed = 3 * held
    step = seconds(lambda: training.step(), device)
    optimizer = min(step, seconds(training.optimizer.step, device))
    return (step - optimizer) * share + optimizer, held + fixed + int(max(0, memory - fixed) * room)


def _together(task: Task, collected: TrajectorySpec | None, step: float, share: float) -> tuple[int, float]:
    """The number of networks that a shard's job trains at once, and the seconds of a step of one of them."""
    if collected is None:
        return 1, step
    together = members_at_once(task, collected.members_per_job, min(collected.models, collected.models_per_shard))
    if together == 1:
        return 1, step
    ensemble = Ensemble([Training(task, seed) for seed in range(together)])
    return together, seconds(ensemble.step, task.device) * share / together


def _write(task: Task, training: Training, folder: Path) -> float:
    """Seconds of copying, converting and writing a state."""
    spec = TrajectorySpec(models=1, models_per_shard=1, state_every=1, steps=STATES - 1)
    with TemporaryDirectory(prefix=".plan-", dir=folder) as name:

        def write() -> None:
            path = Path(name, "states.h5")
            path.unlink(missing_ok=True)
            with writing_shard(path, make_header(task, spec), [0]) as writer:
                for _ in range(STATES):
                    state = training.flat_parameters().to(torch.float16).cpu().numpy()
                    writer.write(0, state, {"train_loss": 1.0})

        return seconds(write, task.device) / STATES


def _nowcasts(
    training: Training, nowcasters: Mapping[str, Nowcaster], schedules: Mapping[str, Schedule]
) -> tuple[dict[str, float], dict[str, int], list[str]]:
    """Seconds and bytes of a nowcast by method, and what was scaled."""
    times: dict[str, float] = {}
    memory: dict[str, int] = {}
    if not nowcasters:
        return times, memory, []
    device = training.task.device
    whole = task_graph(training.task, training.model)
    graph = _fewer_words(whole, CPU_PARAMETERS if device.type == "cpu" else GPU_PARAMETERS)
    share = whole.num_parameters / graph.num_parameters
    graph.lpe(8)  # of a network, once a run
    for method, nowcaster in nowcasters.items():
        if isinstance(nowcaster, torch.nn.Module):
            nowcaster.to(device)

        context, k = schedules[method].context, schedules[method].horizon(0)
        states = torch.randn(graph.num_parameters, context, device=device)

        def predict(nowcaster: Nowcaster = nowcaster, states: Tensor = states, k: int = k) -> None:
            with torch.no_grad():
                nowcaster.predict(graph, states, k)

        memory[method] = int(peak_bytes(predict, device) * share) + 4 * context * whole.num_parameters
        times[method] = seconds(predict, device) * share
    scaled = [f"nowcasts of {graph.num_parameters:,} of {whole.num_parameters:,} parameters"] if share > 1 else []
    return times, memory, scaled


def _fewer_words(graph: NeuralGraph, most: int) -> NeuralGraph:
    """The graph with at most ``most`` parameters, but at least 64 of the rows of its word embedding."""
    words = graph.word_nodes
    if words is None or graph.num_parameters <= most:
        return graph
    fewer, indices = graph.sample_words(torch.arange(min(64, words.size)))
    row = (graph.num_parameters - len(indices)) // max(1, words.size - 64)
    rows = max(64, (most - fewer.num_parameters) // max(1, row))
    return graph.sample_words(torch.arange(min(rows, words.size)))[0]
