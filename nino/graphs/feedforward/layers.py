"""What each kind of layer declares."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from nino.graphs.core import EdgeType
from nino.graphs.feedforward.signals import Signal, Unknown, Value
from nino.graphs.feedforward.transformer import encoder, encoder_layer, self_attention
from nino.graphs.feedforward.wiring import Wiring

Layer = Callable[..., Value]


def linear(w: Wiring, m: nn.Linear, name: str, x: Value) -> Value:
    """A linear layer; features of flattened channels become neurons of their own."""

    def place(source: Signal, output: Signal) -> None:
        w.dense(source, output.parts[0], w.window(m.weight))

    return _weighted(w, m, name, x, m.in_features, m.out_features, place)


def convolution(w: Wiring, m: _ConvNd, name: str, x: Value) -> Value:
    """A convolution, transposed or not, in groups or depth-wise: an edge holds a channel pair's kernel."""
    return _weighted(w, m, name, x, m.in_channels, m.out_channels, partial(_kernels, w, m))


def _weighted(
    w: Wiring,
    m: nn.Linear | _ConvNd,
    name: str,
    x: Value,
    inputs: int,
    outputs: int,
    place: Callable[[Signal, Signal], None],
) -> Value:
    """A layer with a weight, which ``place`` puts between what it reads and its outputs, and a bias."""
    source = w.read(x, inputs, name)
    output = w.shared(m.weight, source)
    if output is None:
        output = Signal((w.b.group(w.b.unused(name or "output"), outputs),), fresh=True)
        if isinstance(source, Signal):
            place(source, output)
        else:
            w.leave(m.weight, source.reason)
        w.remember(m.weight, source, output)
    _bias(w, m.bias, output)
    return output


def _kernels(w: Wiring, m: _ConvNd, source: Signal, output: Signal) -> None:
    weight = w.window(m.weight)  # (out, in / groups, *kernel); transposed (in, out / groups, *kernel)
    y = output.parts[0]
    if m.groups == m.in_channels == m.out_channels > 1:
        for part, span in source.spans():
            w.b.diagonal(part, y[span], weight[span, 0], EdgeType.CONV)
        return
    read, write = m.in_channels // m.groups, m.out_channels // m.groups
    for i, targets in enumerate(y.split(m.groups)):
        if isinstance(m, _ConvTransposeNd):
            kernel = weight[i * read : (i + 1) * read].transpose(0, 1)
        else:
            kernel = weight[i * write : (i + 1) * write]
        w.dense(source.cut(i * read, (i + 1) * read), targets, kernel, EdgeType.CONV)


def norm(w: Wiring, m: nn.Module, name: str, x: Value) -> Value:
    """Scale and bias of a normalisation, on the neurons that it normalises."""
    scale, bias = getattr(m, "weight", None), getattr(m, "bias", None)
    if isinstance(m, nn.GroupNorm):
        size = m.num_channels
    elif scale is None:
        return x  # nothing to place
    else:
        size = scale.shape[0] if scale.ndim != 2 else scale.numel()
    signal = w.read(x, size, name)
    if isinstance(signal, Unknown):
        w.leave(scale, signal.reason)
        w.leave(bias, signal.reason)
        return signal
    if isinstance(m, nn.GroupNorm) and w.b.exact and 1 < m.num_groups < size:
        groups = w.b.group(w.b.unused(f"{name}.groups"), m.num_groups)
        for i, group in enumerate(groups.split(m.num_groups)):
            for part in signal.cut(i * size // m.num_groups, (i + 1) * size // m.num_groups).parts:
                w.b.link(group, part)
    if scale is not None:
        if w.shared(scale, signal) is not None:
            return signal.stale()
        w.star(signal, w.name(scale), EdgeType.NORM)
        w.remember(scale, signal, signal)
    _bias(w, bias, signal)
    return signal


def prelu(w: Wiring, m: nn.PReLU, name: str, x: Value) -> Value:
    """The slopes of a parametric ReLU."""
    if isinstance(x, Signal):
        if m.num_parameters in (1, x.size) and not w.b.placed(w.name(m.weight)):
            w.star(x, w.name(m.weight), EdgeType.BIAS)
        return x.stale()
    w.leave(m.weight, x.reason if isinstance(x, Unknown) else f"{name!r} reads no layer's output")
    return x


def embedding(w: Wiring, m: nn.Embedding, name: str, x: Value) -> Value:
    """A table of words: a node a row."""
    output = w.shared(m.weight, Unknown("words"))
    if output is None:
        words = w.b.group(w.b.unused(f"{name or 'output'}.rows"), m.num_embeddings, fixed=True, words=not w.b.has_words)
        y = w.b.group(w.b.unused(name or "output"), m.embedding_dim)
        w.b.embedding(words, y, w.window(m.weight), EdgeType.WORD_EMBEDDING)
        output = Signal((y,), fresh=True)
        # A linear layer tied to the table reads its columns and gives its rows.
        w.remember(m.weight, output, Signal((words,)))
        return output
    return output


def unchanged(w: Wiring, m: nn.Module, name: str, x: Value) -> Value:
    """Activations, pooling, dropout: the same neurons."""
    linear_too = isinstance(m, nn.Identity | nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Dropout3d)
    return x.stale() if isinstance(x, Signal) and not linear_too else x


def flatten(w: Wiring, m: nn.Flatten, name: str, x: Value) -> Value:
    """Positions become features, channel by channel."""
    return flattened(x) if m.start_dim == 1 else Unknown(f"{name!r} flattens from dimension {m.start_dim}")


def flattened(x: Value) -> Value:
    """A signal whose positions have become features."""
    return Signal(x.parts, flat=True, moved=x.moved, fresh=False) if isinstance(x, Signal) else x


def _bias(w: Wiring, bias: Tensor | None, output: Signal) -> None:
    if bias is not None and not w.b.placed(w.name(bias)):
        w.star(output, w.name(bias), EdgeType.BIAS)


#: The first entry that a module is an instance of says what it declares.
LAYERS: dict[type[nn.Module], Layer] = {
    nn.Linear: linear,
    _ConvNd: convolution,
    _NormBase: norm,
    nn.LayerNorm: norm,
    nn.GroupNorm: norm,
    nn.RMSNorm: norm,
    nn.Embedding: embedding,
    nn.PReLU: prelu,
    nn.MultiheadAttention: self_attention,
    nn.TransformerEncoderLayer: encoder_layer,
    nn.TransformerEncoder: encoder,
    nn.Flatten: flatten,
}
_SAME_NEURONS = ("activation", "pooling", "dropout", "padding", "upsampling", "linear")


def layer_of(module: nn.Module) -> Layer | None:
    """What declares a module, if it is known."""
    for kind, layer in LAYERS.items():
        if isinstance(module, kind):
            return layer
    family = type(module).__module__.rpartition("torch.nn.modules.")[2]
    if family in _SAME_NEURONS and not list(module.parameters(recurse=False)):
        return unchanged
    return None
