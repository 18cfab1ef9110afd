"""From a model to its neural graph: unwrapping, and the declarations of known architectures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, get_args

from torch import nn

from nino.graphs.architectures import declare_bert, declare_gpt2, declare_llama, declare_torchvision_vit, declare_vit
from nino.graphs.builder import GraphBuilder
from nino.graphs.feedforward import declare_feedforward
from nino.graphs.graph import NeuralGraph

Topology = Literal["released", "exact", "naive"]
Declaration = Callable[[GraphBuilder, nn.Module], None]

#: By transformers' ``config.model_type``. The layouts of Mistral, Qwen2 and Gemma are Llama's.
_BY_TYPE: dict[str, Declaration] = {
    "gpt2": declare_gpt2,
    "llama": declare_llama,
    "mistral": declare_llama,
    "qwen2": declare_llama,
    "qwen3": declare_llama,
    "gemma": declare_llama,
    "bert": declare_bert,
    "vit": declare_vit,
}
#: By class, or by the name of a class of a library that may not be installed.
_BY_CLASS: dict[type[nn.Module] | str, Declaration] = {
    "torchvision.models.vision_transformer.VisionTransformer": declare_torchvision_vit,
}


def neural_graph(
    model: nn.Module, topology: Topology = "released", unknown: Literal["error", "carry"] = "error"
) -> NeuralGraph:
    """The neural graph of a model's parameters (NiNo paper, section 3.2).

    Args:
        model: any module; only names, shapes and structure are read, so models on the meta device do.
        topology: ``released``, what the released weights were trained on; ``exact``, whose symmetries are those
            of the network; or ``naive``, ``released`` without attention heads (the paper's ablation).
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
        inner = getattr(model, "_orig_mod", None)
        if isinstance(inner, nn.Module):
            model = inner
        elif isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        else:
            return model


def declaration_of(model: nn.Module) -> Declaration:
    """The declaration for a model: by its class, then by its transformers model type, else the generic one.

    Args:
        model: an unwrapped model.

    Returns:
        What declares it.

    Raises:
        ValueError: for a transformers model of a type that nothing declares: its layers cannot be guessed.
    """
    names = [f"{cls.__module__}.{cls.__qualname__}" for cls in type(model).__mro__]
    for cls, name in zip(type(model).__mro__, names, strict=True):
        declaration = _BY_CLASS.get(cls) or _BY_CLASS.get(name)
        if declaration is not None:
            return declaration
    if "transformers.modeling_utils.PreTrainedModel" not in names:
        return declare_feedforward
    model_type = getattr(getattr(model, "config", None), "model_type", None)
    if model_type not in _BY_TYPE:
        raise ValueError(
            f"{type(model).__name__}: no neural graph is declared for the transformers model type {model_type!r} "
            f"(there are {', '.join(_BY_TYPE)}); declare it with nino.graphs.register_graph({model_type!r}, ...), "
            f"see docs/graphs.md"
        )
    return _BY_TYPE[model_type]


def register_graph(key: type[nn.Module] | str, declaration: Declaration) -> None:
    """Declare the neural graph of an architecture.

    Args:
        key: a module class (subclasses included), or a transformers model type such as ``"mixtral"``.
        declaration: called with a ``GraphBuilder`` over the model's parameters and the unwrapped model.
    """
    if isinstance(key, str):
        _BY_TYPE[key] = declaration
    else:
        _BY_CLASS[key] = declaration
