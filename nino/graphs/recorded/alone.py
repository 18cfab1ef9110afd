"""A graph for nowcasters that look at each weight alone: every parameter's kind, and no wiring."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from nino.graphs.builder import GraphBuilder
from nino.graphs.core import EdgeType
from nino.graphs.graph import NeuralGraph

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def parameters_alone(model: nn.Module) -> NeuralGraph:
    """Each parameter between neurons of its own, by the kind of its layer.

    WNN+, WNN and line fits read an edge's weight and type, never its ends: they need no more, and no model is refused.

    Args:
        model: an unwrapped model.

    Returns:
        A graph of topology ``alone`` without carried parameters; ``NiNoNet`` needs the wiring that it lacks.
    """
    b = GraphBuilder(model, "alone")
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(path, recurse=False):
            if name in b and not b.placed(name) and parameter.numel():
                _place(b, name, module)
    return b.build()


def _place(b: GraphBuilder, name: str, module: nn.Module) -> None:
    weight = b.weight(name)
    if weight.ndim < 2 or isinstance(module, _NORMS):
        kind = EdgeType.NORM if _scale(name, module) else EdgeType.BIAS
        b.star(b.group(f"{name}.neurons", weight.numel()), weight.reshape(-1), kind)
        return
    if isinstance(module, _ConvTransposeNd):
        weight = weight.transpose(0, 1)
    if weight.ndim > 2 and not isinstance(module, _ConvNd):
        weight = weight.flatten(0, -2)  # a stack of matrices: one after another
    if isinstance(module, nn.Embedding):
        kind = EdgeType.WORD_EMBEDDING
    else:
        kind = EdgeType.CONV if weight.ndim > 2 else EdgeType.LINEAR
    b.dense(b.group(f"{name}.in", weight.shape[1]), b.group(f"{name}.out", weight.shape[0]), weight, kind)


def _scale(name: str, module: nn.Module) -> bool:
    """Whether a vector scales: the weight of a norm, by its layer's class or name."""
    norm = isinstance(module, _NORMS) or "norm" in type(module).__name__.lower()
    return norm and name.endswith("weight")
