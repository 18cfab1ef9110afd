"""The neural graph of a task's network; apart from `Task`, so that trajectories do not depend on the code of graphs."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.utils._pytree import tree_map

from nino.graphs import NeuralGraph, neural_graph
from nino.graphs.registry import Topology, Unknown, known_graph
from nino.specs import ModelSpec
from nino.tasks.data import Data
from nino.tasks.networks import is_ours
from nino.tasks.task import Task

EXAMPLES = 2  # that a graph is recorded on: enough for layers that normalise over a batch


def task_graph(
    task: Task, model: nn.Module, topology: Topology = "released", unknown: Unknown = "error"
) -> NeuralGraph:
    """The neural graph of a network of a task, see `model_graph`."""
    return model_graph(task.spec.model, model, task.data, topology, unknown)


def model_graph(
    spec: ModelSpec, model: nn.Module, data: Data, topology: Topology = "released", unknown: Unknown = "error"
) -> NeuralGraph:
    """The neural graph of a network: of an architecture of ours as ever, else declared, traced, or recorded on data.

    Args:
        spec: what made the network.
        model: the network.
        data: two training examples of which a forward is recorded with.
        topology: of the graph.
        unknown: what to do with parameters that a declaration does not place.

    Raises:
        ValueError: as `nino.graphs.neural_graph`.
    """
    if is_ours(spec):
        return neural_graph(model, topology, unknown)
    if (known := known_graph(model, topology, unknown)) is not None:
        return known
    return neural_graph(model, topology, unknown, example=examples_of(data, model))


def examples_of(data: Data, model: nn.Module) -> Any:
    """The inputs that a graph is recorded on and verified with: the first of the training, where the network is."""
    inputs, _ = data.train.slice(0, EXAMPLES)
    device = next(model.parameters()).device
    return tree_map(lambda tensor: tensor.to(device), inputs)
