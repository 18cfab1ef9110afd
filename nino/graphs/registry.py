"""From a model to its neural graph: unwrapping, and the declarations of known architectures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, get_args

from torch import nn

from nino.graphs.builder import GraphBuilder
from nino.graphs.generic import declare_generic
from nino.graphs.gpt2 import declare_gpt2
from nino.graphs.graph import NeuralGraph

Topology = Literal["released", "exact"]
Declaration = Callable[[GraphBuilder, nn.Module], None]

_BY_TYPE: dict[str, Declaration] = {"gpt2": declare_gpt2}
_BY_CLASS: dict[type[nn.Module], Declaration] = {}


def neural_graph(
    model: nn.Module, topology: Topology = "released", unknown: Literal["error", "carry"] = "error"
) -> NeuralGraph:
    """The neural graph of a model's parameters (NiNo paper, section 3.2).

    Args:
        model: any module; only names, shapes and structure are read, so models on the meta device do.
        topology: ``released``, what the released weights were trained on, or ``exact``, whose symmetries are those
            of the network.
        unknown: what to do with parameters that no declaration places: ``error``, or ``carry`` them (they get no
            edge; the base optimizer alone trains them).

    Returns:
        The graph; its parameters are those of ``model.named_parameters()``.

    Raises:
        ValueError: for an unknown topology, or parameters that lie on no edge.
    """
    for argument, value, allowed in (
        ("topology", topology, get_args(Topology)),
        ("unknown", unknown, ("error", "carry")),
    ):
        if value not in allowed:
            raise ValueError(f"`{argument}` (={value!r}) must be one of {', '.join(map(repr, allowed))}")
    inner = unwrap(model)
    builder = GraphBuilder(inner, topology)
    declaration_of(inner)(builder, inner)
    graph = builder.build(unknown, type(inner).__name__)
    names = [name for name, _ in model.named_parameters()]
    parameters = tuple(replace(p, name=name) for p, name in zip(graph.parameters, names, strict=True))
    renamed = {old.name: new.name for old, new in zip(graph.parameters, parameters, strict=True)}
    blocks = tuple(b if b.weight is None else replace(b, name=renamed[b.name]) for b in graph.blocks)
    carried = tuple(renamed[name] for name in graph.carried)
    return replace(graph, parameters=parameters, blocks=blocks, carried=carried)


def unwrap(model: nn.Module) -> nn.Module:
    """The module inside ``torch.compile``, ``DataParallel`` and ``DistributedDataParallel``."""
    while True:
        if hasattr(model, "_orig_mod"):
            model = model._orig_mod
        elif isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        else:
            return model


def declaration_of(model: nn.Module) -> Declaration:
    """The declaration for a model: by its class, then by its transformers model type, else the generic one."""
    for cls in type(model).__mro__:
        if cls in _BY_CLASS:
            return _BY_CLASS[cls]
    model_type = getattr(getattr(model, "config", None), "model_type", None)
    if model_type in _BY_TYPE:
        return _BY_TYPE[model_type]
    return declare_generic
