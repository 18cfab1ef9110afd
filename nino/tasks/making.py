"""From a task's data and the name of a model to the network and its neural graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter
from torch.utils._pytree import tree_map

from nino.graphs import NeuralGraph, neural_graph
from nino.graphs.registry import Topology, Unknown, known_graph
from nino.specs import ModelSpec, Reference, suggest
from nino.specs.model_options import LIBRARIES
from nino.specs.references import registered
from nino.tasks.data import Data
from nino.tasks.registry import MODELS

EXAMPLES = 2  # that a graph is recorded on: enough for layers that normalise over a batch


def is_ours(spec: ModelSpec) -> bool:
    """Whether an architecture is defined in this package."""
    return spec.name in MODELS and spec.name not in LIBRARIES


def make_model(spec: ModelSpec, data: Data) -> nn.Module:
    """A fresh network, initialised from the global generators; one from outside this package runs its file.

    Args:
        spec: a name of ours or from outside, and its options.
        data: what the network is to fit.

    Raises:
        ValueError: for an unknown name or option, and for a function that gives no module or one without a shape.
    """
    if spec.name in MODELS:
        return MODELS[spec.name](data, spec.options)
    reference = Reference.find(spec.name, "model")
    if reference is None:
        raise ValueError(f"model.name is {spec.name!r}: {suggest(spec.name, [*MODELS, *registered('model')])}")
    model: Any = reference.call(data, **spec.options)
    if not isinstance(model, nn.Module):
        raise ValueError(f"model.name (={spec.name}) gave {type(model).__name__}, not a torch.nn.Module")
    if lazy := [name for name, p in model.named_parameters() if isinstance(p, UninitializedParameter)]:
        raise ValueError(f"model.name (={spec.name}) gave a parameter without a shape, {lazy[0]}: build it with sizes")
    return model


def sketch_model(spec: ModelSpec, data: Data) -> nn.Module:
    """A network for its names and shapes alone: on the meta device, or a real one where building it needs numbers."""
    try:
        with torch.device("meta"):
            return make_model(spec, data)
    except (NotImplementedError, RuntimeError):
        with torch.random.fork_rng(devices=[]):
            return make_model(spec, data)


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
    inputs, _ = data.train.slice(0, EXAMPLES)
    device = next(model.parameters()).device
    return neural_graph(model, topology, unknown, example=tree_map(lambda tensor: tensor.to(device), inputs))
