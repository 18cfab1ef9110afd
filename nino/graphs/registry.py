"""From a model to its neural graph: unwrapping, and the declarations of known architectures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, get_args

from torch import nn

from nino.graphs.architectures import declare_bert, declare_gpt2, declare_llama, declare_torchvision_vit, declare_vit
from nino.graphs.builder import GraphBuilder
from nino.graphs.feedforward import declare_feedforward, declare_in_order
from nino.graphs.feedforward.wiring import Untraceable
from nino.graphs.graph import NeuralGraph
from nino.graphs.weights import check_placeable

Topology = Literal["released", "exact", "naive"]
Unknown = Literal["error", "carry", "order"]
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
#: Those that know `exact` too: committed results were made with its order of nodes. That of the others is recorded.
_EXACT: set[Declaration] = {declare_gpt2}
#: Declarations that the user registered, which come before a recording.
_USERS: set[Declaration] = set()


def neural_graph(
    model: nn.Module,
    topology: Topology = "released",
    unknown: Unknown = "error",
    *,
    example: Any = None,
) -> NeuralGraph:
    """The neural graph of a model's parameters (NiNo paper, section 3.2).

    Declared families have declared graphs; that of any other model is recorded from one forward pass, operation by
    operation, in either topology (see docs/graphs.md). What recording cannot place is in ``carried``, and why in
    ``reasons``.

    Args:
        model: any module; models on the meta device will do.
        topology: ``released``, what the released weights were trained on; ``exact``, whose symmetries are those
            of the network; or ``naive``, ``released`` without attention heads (the paper's ablation).
        unknown: what to do with parameters that a declaration does not place: ``error``, or ``carry`` them (they get
            no edge; the base optimizer alone trains them). ``order`` joins the layers of a model whose forward can be
            neither traced nor recorded in the order in which they are registered, which may be the wrong one.
        example: inputs to record the forward with: a tensor, a tuple of positional or a dict of keyword inputs. None
            takes the declaration, else dummy inputs of the model's library, else zeros that fit the first layer.

    Returns:
        The graph; its parameters are those of ``model.named_parameters()``.

    Raises:
        ValueError: for an unknown topology, parameters that a declaration of the user's does not place, or that are
            complex, quantised or without a shape, or a model that does not run on the example, or on any known input
            where none is passed.
    """
    for argument, value, allowed in (
        ("topology", topology, get_args(Topology)),
        ("unknown", unknown, get_args(Unknown)),
    ):
        if value not in allowed:
            raise ValueError(f"`{argument}` (={value!r}) must be one of {', '.join(map(repr, allowed))}")
    inner = unwrap(model)
    check_placeable(inner.named_parameters())
    recorded_first = example is not None and topology == "exact" and not _USERS & {declaration_of(inner)}
    graph = None if recorded_first else known_graph(inner, topology, unknown)
    if graph is None:
        graph = _recorded(inner, topology, unknown, example)
    return _named_as(graph, model)


def known_graph(model: nn.Module, topology: Topology = "released", unknown: Unknown = "error") -> NeuralGraph | None:
    """The graph of a model that needs no forward pass: declared whole or, but for ``exact``, traced with ``torch.fx``.

    ``exact`` is declared for GPT-2, and where the user declares it.

    Args:
        model: an unwrapped model.
        topology: see ``neural_graph``.
        unknown: see ``neural_graph``.

    Returns:
        None where the model is neither declared nor traced whole.

    Raises:
        ValueError: if a declaration of the user's leaves parameters out.
    """
    declaration = declaration_of(model)
    of_transformers = any(cls.__name__ == "PreTrainedModel" for cls in type(model).__mro__)
    if declaration is None and (topology == "exact" or of_transformers):
        return None
    if topology == "exact" and declaration not in _USERS | _EXACT:
        return None
    builder = GraphBuilder(model, topology)
    if declaration is not None and declaration in _USERS:
        declaration(builder, model)
        return builder.build("carry" if unknown == "carry" else "error", type(model).__name__)
    try:
        (declaration or declare_feedforward)(builder, model)
    except Untraceable:
        return None
    except ValueError:  # not the layers of the family: adapters, parametrizations
        if topology == "naive":
            raise
        return None
    graph = builder.build("carry", type(model).__name__)
    if graph.carried and topology != "naive":
        return None
    return graph if declaration is not None else replace(graph, origin="traced")


def family_graph(kind: str, model: nn.Module, topology: Topology = "released") -> NeuralGraph | None:
    """The declared graph of a family, for any module with its parameters' names, ``config`` and ``base_model``.

    Args:
        kind: transformers' ``config.model_type``.
        model: need not be able to run.
        topology: see ``neural_graph``.

    Returns:
        None where the family is not declared, or not in this topology, or the declaration does not place all of the
        model's parameters.
    """
    if kind not in _BY_TYPE or (topology == "exact" and _BY_TYPE[kind] not in _EXACT):
        return None
    builder = GraphBuilder(model, topology)
    try:
        _BY_TYPE[kind](builder, model)
    except ValueError:
        return None
    graph = builder.build("carry", kind)
    return None if graph.carried else graph


def graph_now(model: nn.Module, topology: Topology, unknown: Unknown, *, wiring: bool) -> NeuralGraph | None:
    """The graph of a model, if no forward pass is needed for it; else None.

    A nowcaster that does not read what edges join always gets one, at worst of each parameter alone.

    Args:
        model: an unwrapped model.
        topology: see ``neural_graph``.
        unknown: see ``neural_graph``.
        wiring: whether it matters what edges join (``Nowcaster.needs_graph``).
    """
    from nino.graphs.recorded import parameters_alone

    try:
        graph = known_graph(model, topology, unknown)
    except ValueError as error:
        if wiring:
            error.add_note(
                "NiNo(..., unknown='carry') leaves them to the base optimizer, nowcaster=None leaves everything to it"
            )
            raise
        graph = None
    return parameters_alone(model) if graph is None and not wiring else graph


def _recorded(model: nn.Module, topology: Topology, unknown: Unknown, example: Any) -> NeuralGraph:
    """The recorded graph; in the order of registration where that was asked for and nothing else will do."""
    from nino.graphs.recorded import record_graph, record_without_example

    if topology == "naive":
        raise ValueError(
            f"{type(model).__name__}: topology 'naive' knows declared families and what torch.fx traces whole: "
            f"use 'released' or 'exact'"
        )
    try:
        if example is None:
            return record_without_example(model, topology)
        return record_graph(model, example, topology)
    except ValueError:
        if unknown != "order":
            raise
    builder = GraphBuilder(model, topology)
    declare_in_order(builder, model)
    return replace(builder.build("carry", type(model).__name__), origin="layers in the order of registration")


def _named_as(graph: NeuralGraph, model: nn.Module) -> NeuralGraph:
    """The graph with the names that parameters have in the (wrapped) model."""
    names = [name for name, _ in model.named_parameters()]
    parameters = tuple(replace(p, name=name) for p, name in zip(graph.parameters, names, strict=True))
    renamed = {old.name: new.name for old, new in zip(graph.parameters, parameters, strict=True)}
    blocks = tuple(b if b.weight is None else replace(b, name=renamed[b.name]) for b in graph.blocks)
    carried = tuple(renamed[name] for name in graph.carried)
    reasons = {renamed[name]: reason for name, reason in graph.reasons.items()}
    return replace(graph, parameters=parameters, blocks=blocks, carried=carried, reasons=reasons)


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


def declaration_of(model: nn.Module) -> Declaration | None:
    """What declares a model: found by its class, then by its transformers model type; None where nothing does.

    Args:
        model: an unwrapped model.
    """
    names = [f"{cls.__module__}.{cls.__qualname__}" for cls in type(model).__mro__]
    for cls, name in zip(type(model).__mro__, names, strict=True):
        declaration = _BY_CLASS.get(cls) or _BY_CLASS.get(name)
        if declaration is not None:
            return declaration
    if "transformers.modeling_utils.PreTrainedModel" not in names:
        return None
    return _BY_TYPE.get(getattr(getattr(model, "config", None), "model_type", None) or "")


def register_graph(key: type[nn.Module] | str, declaration: Declaration) -> None:
    """Declare the neural graph of an architecture.

    Args:
        key: a module class (subclasses included), or a transformers model type such as ``"mixtral"``.
        declaration: called with a ``GraphBuilder`` over the model's parameters and the unwrapped model.
    """
    _USERS.add(declaration)
    if isinstance(key, str):
        _BY_TYPE[key] = declaration
    else:
        _BY_CLASS[key] = declaration
