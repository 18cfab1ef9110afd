"""Recording without an example: inputs that the model is known to take, or that fit its first layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from nino.graphs.graph import NeuralGraph
from nino.graphs.recorded.examples import examples
from nino.graphs.recorded.record import record_graph
from nino.graphs.weights import check_placeable


def record_without_example(model: nn.Module, topology: str = "exact") -> NeuralGraph:
    """Record a graph on the first input of ``nino.graphs.recorded.examples`` that the model runs on.

    Args:
        model: an unwrapped model.
        topology: name kept in the graph.

    Returns:
        The graph; its ``origin`` says what it was recorded on.

    Raises:
        ValueError: if the model runs on none of them: says to pass an example.
    """
    return guessed(model, topology)[0]


def guessed(model: nn.Module, topology: str = "exact") -> tuple[NeuralGraph, Any]:
    """The graph, and the inputs that it was recorded on (see ``record_without_example``)."""
    check_placeable(model.named_parameters())
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    complaint = ""
    for candidate in examples(model):
        example = _cast(candidate, dtype)
        try:
            graph = record_graph(model, example, topology)
        except ValueError as error:
            complaint = complaint or str(error)
            continue
        return replace(graph, origin=f"recorded on {_described(example)}"), example
    raise ValueError(
        f"{type(model).__name__}: its neural graph is recorded from a forward pass, and "
        f"{complaint or 'no input is known that it takes'}; pass neural_graph(model, example=inputs), the inputs of "
        f"one training step: a tensor, a tuple or a dict"
    )


def _cast(example: Any, dtype: torch.dtype) -> Any:
    """An example with random numbers in the place of zeros."""
    draw = torch.Generator().manual_seed(0)
    return tree_map(
        lambda x: (
            torch.randn(x.shape, generator=draw).to(dtype) if isinstance(x, Tensor) and x.is_floating_point() else x
        ),
        example,
    )


def _described(example: Any) -> str:
    if isinstance(example, Tensor):
        return f"numbers of shape {tuple(example.shape)}"
    shapes = {k: tuple(x.shape) if isinstance(x, Tensor) else x for k, x in dict(example).items()}
    return f"dummy inputs {shapes}"
