"""From a model's forward, or from its module tree, to its graph."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import fx, nn

from nino.graphs.builder import GraphBuilder
from nino.graphs.feedforward.layers import layer_of
from nino.graphs.feedforward.operations import apply
from nino.graphs.feedforward.signals import Attribute, Input, Signal, Unknown, Value
from nino.graphs.feedforward.wiring import Untraceable, Wiring

logger = logging.getLogger(__name__)


def declare_feedforward(b: GraphBuilder, model: nn.Module) -> None:
    """Declare a network of linear layers, convolutions, norms, attention layers and what joins them, from a trace.

    Args:
        b: the builder.
        model: the model; layers that are not known are left to ``GraphBuilder.build`` to refuse or carry.

    Raises:
        Untraceable: if the forward branches on values, or does anything else that ``torch.fx`` cannot follow.
    """
    w = Wiring(b, model)
    if layer_of(model) is not None:
        _finish(w, _layer(w, model, "", [Input("input")], {}))
        return
    try:
        traced = _Tracer().trace(model, concrete_args=_defaults(model))
    except Exception as error:  # a trace runs the model's own code: whatever that raises means "cannot be traced"
        raise Untraceable(f"{type(model).__name__}: {type(error).__name__}: {error}") from error
    _declare_trace(w, model, traced)


def declare_in_order(b: GraphBuilder, model: nn.Module) -> None:
    """Declare known layers one after another in the order in which they are registered, whatever the forward does."""
    logger.warning("%s: its layers are joined in the order of registration", type(model).__name__)
    _declare_tree(Wiring(b, model), model)


class _Tracer(fx.Tracer):
    """Stops at layers that are known, and looks through compiled submodules."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return layer_of(m) is not None or super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        inner = getattr(m, "_orig_mod", None)
        if isinstance(inner, nn.Module):
            m, forward = inner, inner.forward
        return super().call_module(m, forward, args, kwargs)


def _defaults(model: nn.Module) -> dict[str, Any]:
    """Arguments of the forward that a call may leave out, with their defaults."""
    parameters = inspect.signature(model.forward).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}


def _declare_trace(w: Wiring, model: nn.Module, traced: fx.Graph) -> None:
    """Follow the traced forward, operation by operation."""
    values: dict[fx.Node, Value] = {}

    def value_of(node: fx.Node) -> Value:
        value = values[node]
        return value.stale() if isinstance(value, Signal) and len(node.users) > 1 else value

    for node in traced.nodes:
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), value_of)
        if node.op == "placeholder":
            values[node] = Input(node.name)
        elif node.op == "get_attr":
            values[node] = _attribute(w, model, str(node.target))
        elif node.op == "call_module":
            name = str(node.target)
            values[node] = _layer(w, model.get_submodule(name), name, args, kwargs)
        elif node.op == "output":
            _finish(w, args[0])
        else:
            operation = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "?")
            values[node] = apply(w, operation, _tupled(args), kwargs, node.name)


def _tupled(args: Any) -> list[Value]:
    """Arguments as plain lists and tuples (a trace has its own immutable ones)."""
    return [tuple(a) if isinstance(a, list | tuple) else a for a in args]


def _attribute(w: Wiring, model: nn.Module, path: str) -> Value:
    """A parameter that the forward uses directly; None for buffers and other tensors."""
    owner, _, name = path.rpartition(".")
    tensor = getattr(model.get_submodule(owner), name)
    return Attribute(w.name(tensor), tuple(tensor.shape)) if isinstance(tensor, nn.Parameter) else None


def _layer(w: Wiring, module: nn.Module, name: str, args: Any, kwargs: dict[str, Any]) -> Value:
    layer = layer_of(module)
    if layer is not None and args:
        inputs = [*args, *(kwargs[k] for k in ("key", "value") if k in kwargs)]
        return layer(w, module, name, *inputs)
    reason = f"module {name!r} ({type(module).__name__}) is not known"
    for parameter in module.parameters():
        w.leave(parameter, reason)
    return Unknown(reason)


def _declare_tree(w: Wiring, model: nn.Module) -> None:
    """Take known layers one after another in the module tree's order."""
    value: Value = Input("input")
    inside: set[nn.Module] = set()
    for name, module in model.named_modules():
        layer = layer_of(module)
        if module in inside or (layer is None and not _declared_apart(module)):
            continue
        inside.update(module.modules())
        if isinstance(value, Signal):
            value = replace(value, flat=True)  # no trace says where positions are flattened
        result = _layer(w, module, name, [value], {})
        value = result[0] if isinstance(result, tuple) else result
    _finish(w, value)


def _declared_apart(module: nn.Module) -> bool:
    """Whether a module is a transformers model, whose layers do not follow each other as in its tree."""
    return any(cls.__name__ == "PreTrainedModel" for cls in type(module).__mro__)


def _finish(w: Wiring, output: Any) -> None:
    """Fix the order of the outputs: it is part of the function."""
    if isinstance(output, Signal):
        for part in output.parts:
            w.b.fix(part)
    elif isinstance(output, dict):
        _finish(w, list(output.values()))
    elif isinstance(output, list | tuple):
        for value in output:
            _finish(w, value)
    w.b.fix_ends()
