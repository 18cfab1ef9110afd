"""Short real fits of a nowcaster: iterations on random states of the right size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from nino.graphs import NeuralGraph
from nino.measure import peak_bytes, seconds
from nino.metatrain.optimize import Precision, Trainer, loss_of
from nino.metatrain.sampler import VALIDATION_STARTS
from nino.metatrain.training_windows import Windows
from nino.nowcasters import NiNoNet, WNNPlus
from nino.specs import MetatrainSpec

# A batch that would take longer, by the time of its first trajectory, is not timed whole but scaled up from that [s].
WHOLE_BATCH_SECONDS = 3.0


@dataclass(frozen=True)
class FitCalibration:
    """The cost of a fit's parts.

    Args:
        iteration: seconds of an iteration by task, if all of its batch were of that task.
        validation: seconds of a held-out trajectory by task.
        memory: of an iteration, beside the process's own [bytes].
    """

    iteration: Mapping[str, float]
    validation: Mapping[str, float]
    memory: int

    def seconds(self, spec: MetatrainSpec) -> float:
        """Seconds of a whole fit: each trajectory of a batch is of a task drawn uniformly."""
        validations = spec.iterations // spec.validate_every + 1
        iteration = sum(self.iteration.values()) / len(self.iteration)
        return spec.iterations * iteration + validations * sum(self.validation.values()) * spec.validation_models


def calibrate_fit(
    spec: MetatrainSpec, net: NiNoNet | WNNPlus, graphs: Mapping[str, NeuralGraph], device: torch.device
) -> FitCalibration:
    """Time iterations of a fit.

    Args:
        spec: the recipe.
        net: the nowcaster; changed.
        graphs: of each task's network.
        device: where the fit runs.

    Returns:
        Seconds and bytes.
    """
    precision = Precision.choose(device, spec.amp)
    trainer = Trainer(net, spec, precision)
    iteration, validation, memory = {}, {}, 0
    for task, graph in graphs.items():
        windows = synthetic_windows(task, graph, spec)
        first = seconds(lambda windows=windows: trainer.step(0, [windows]), device)  # type: ignore[misc]
        iteration[task] = first * spec.trajectories_per_batch
        if iteration[task] < WHOLE_BATCH_SECONDS:
            batch = _batch(windows, spec, graph)
            iteration[task] = seconds(lambda batch=batch: trainer.step(0, batch), device)  # type: ignore[misc]
        memory = max(memory, peak_bytes(lambda windows=windows: trainer.step(0, [windows]), device))  # type: ignore[misc]

        def validate(windows: Windows = windows) -> None:
            with torch.no_grad():
                loss_of(net, [windows.to(device)], spec, precision, "streamed")

        validation[task] = seconds(validate, device) * VALIDATION_STARTS
    parameters = sum(p.numel() for p in net.parameters())
    return FitCalibration(iteration, validation, memory + 24 * parameters)


def synthetic_windows(task: str, graph: NeuralGraph, spec: MetatrainSpec) -> Windows:
    """Windows of random states, of the first of a word embedding's rows where a fit samples them."""
    words = graph.word_nodes
    if words is not None and words.size > spec.words:
        graph, _ = graph.sample_words(torch.arange(spec.words))
    count = spec.windows_per_trajectory
    length = count - 1 + spec.context + spec.max_horizon
    return Windows(
        task=task,
        trajectory=0,
        start=0,
        graph=graph,
        values=torch.randn(graph.num_parameters, length),
        mask=torch.ones(count, spec.max_horizon, dtype=torch.bool),
        positions=torch.randn(graph.num_nodes, 8),
        context=spec.context,
    )


def _batch(windows: Windows, spec: MetatrainSpec, graph: NeuralGraph) -> list[Windows]:
    """A batch of this task alone: windows share a graph, unless words are sampled for each trajectory."""
    if windows.graph is graph:
        return [windows] * spec.trajectories_per_batch
    return [synthetic_windows(windows.task, graph, spec) for _ in range(spec.trajectories_per_batch)]
