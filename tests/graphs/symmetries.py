"""Neurons of small models: which tensors hold them, and which ways of renumbering them keep the function.

A space is a list of (tensor name, dimension, first index). A renumbering gives each space a permutation.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

Uses = list[tuple[str, int, int]]
Renumbering = dict[str, np.ndarray]
Rng = np.random.Generator


@dataclass
class Symmetries:
    """Spaces of a model, and a sampler of renumberings that keep its function."""

    sizes: dict[str, int]
    uses: dict[str, Uses]
    samplers: list[Callable[[Rng], Renumbering]] = field(default_factory=list)

    def free(self, name: str, size: int, uses: Uses) -> None:
        """A space whose neurons may be renumbered at will."""
        self.space(name, size, uses)
        self.samplers.append(lambda rng: {name: rng.permutation(size)})

    def space(self, name: str, size: int, uses: Uses) -> None:
        self.sizes[name], self.uses[name] = size, uses

    def preserving(self, rng: Rng) -> Renumbering:
        return {name: order for sampler in self.samplers for name, order in sampler(rng).items()}

    def changing(self, rng: Rng) -> tuple[Renumbering, dict[str, Uses]]:
        """A renumbering with one space out of step: other numbers, or the same ones in some of its tensors only."""
        orders, uses = self.preserving(rng), dict(self.uses)
        name = str(rng.choice(list(orders)))
        if rng.random() < 0.5 and len(uses[name]) > 1:
            kept = rng.permutation(len(uses[name]))[: rng.integers(1, len(uses[name]))]
            uses[name] = [uses[name][i] for i in kept]
        else:
            orders[name] = rng.permutation(self.sizes[name])
        return orders, uses


def apply(model: nn.Module, orders: Renumbering, uses: dict[str, Uses]) -> nn.Module:
    """A copy of the model with tensors renumbered."""
    model = deepcopy(model)
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    with torch.no_grad():
        for name, order in orders.items():
            for tensor, dim, first in uses[name]:
                data = tensors[tensor].movedim(dim, 0)
                data[first : first + len(order)] = data[first : first + len(order)].clone()[torch.from_numpy(order)]
    return model


def heads_of(rng: Rng, heads: int, kv_heads: int, d_head: int, rotary: bool) -> tuple[np.ndarray, ...]:
    """Orders of query, key, value and output neurons that attention does not notice."""
    shared = heads // kv_heads
    q, k, v, o = [], [], [], []
    for g in rng.permutation(kv_heads):
        inside = np.arange(d_head) if rotary else rng.permutation(d_head)
        values = rng.permutation(d_head)
        k.append(g * d_head + inside)
        v.append(g * d_head + values)
        for h in rng.permutation(shared):
            q.append((g * shared + h) * d_head + inside)
            o.append((g * shared + h) * d_head + values)
    return tuple(np.concatenate(part) for part in (q, k, v, o))


def attention(
    s: Symmetries, name: str, heads: int, kv: int, d_head: int, uses: dict[str, Uses], *, rotary: bool = False
) -> None:
    """Spaces of one attention layer: ``uses`` of its q, k, v and o."""
    for part, size in (("q", heads), ("k", kv), ("v", kv), ("o", heads)):
        s.space(f"{name}.{part}", size * d_head, uses[part])

    def sample(rng: Rng) -> Renumbering:
        orders = heads_of(rng, heads, kv, d_head, rotary)
        return {f"{name}.{part}": order for part, order in zip("qkvo", orders, strict=True)}

    s.samplers.append(sample)


def gpt2(layers: int, heads: int, d: int, untied: bool = False) -> Symmetries:
    s, t = Symmetries({}, {}), "transformer."
    stream: Uses = [
        (f"{t}wte.weight", 1, 0),
        (f"{t}wpe.weight", 1, 0),
        (f"{t}ln_f.weight", 0, 0),
        (f"{t}ln_f.bias", 0, 0),
    ]
    stream += [("lm_head.weight", 1, 0)] * untied
    for i in range(layers):
        n = f"{t}h.{i}"
        stream += [(f"{n}.{m}", 0, 0) for m in ("ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias")]
        stream += [
            (f"{n}.attn.c_attn.weight", 0, 0),
            (f"{n}.attn.c_proj.weight", 1, 0),
            (f"{n}.attn.c_proj.bias", 0, 0),
        ]
        stream += [(f"{n}.mlp.c_fc.weight", 0, 0), (f"{n}.mlp.c_proj.weight", 1, 0), (f"{n}.mlp.c_proj.bias", 0, 0)]
        fused = {
            p: [(f"{n}.attn.c_attn.weight", 1, j * d), (f"{n}.attn.c_attn.bias", 0, j * d)] for j, p in enumerate("qkv")
        }
        attention(s, n, heads, heads, d // heads, fused | {"o": [(f"{n}.attn.c_proj.weight", 0, 0)]})
        s.free(
            f"{n}.mlp",
            4 * d,
            [(f"{n}.mlp.c_fc.weight", 1, 0), (f"{n}.mlp.c_fc.bias", 0, 0), (f"{n}.mlp.c_proj.weight", 0, 0)],
        )
    s.free("stream", d, stream)
    return s


def llama(
    layers: int, heads: int, kv: int, d_head: int, d: int, ff: int, names: set[str], tied: bool = False
) -> Symmetries:
    """Of Llama and the like; ``names`` of all parameters tell which biases there are."""
    s = Symmetries({}, {})
    stream: Uses = [("model.embed_tokens.weight", 1, 0), ("model.norm.weight", 0, 0)]
    stream += [("lm_head.weight", 1, 0)] * (not tied)
    for i in range(layers):
        n = f"model.layers.{i}"
        a = f"{n}.self_attn"
        stream += [(f"{a}.{p}_proj.weight", 1, 0) for p in "qkv"]
        stream += [(f"{a}.o_proj.weight", 0, 0), (f"{a}.o_proj.bias", 0, 0), (f"{n}.mlp.down_proj.bias", 0, 0)]
        stream += [
            (f"{n}.mlp.gate_proj.weight", 1, 0),
            (f"{n}.mlp.up_proj.weight", 1, 0),
            (f"{n}.mlp.down_proj.weight", 0, 0),
        ]
        stream += [(f"{n}.input_layernorm.weight", 0, 0), (f"{n}.post_attention_layernorm.weight", 0, 0)]
        uses: dict[str, Uses] = {p: [(f"{a}.{p}_proj.weight", 0, 0), (f"{a}.{p}_proj.bias", 0, 0)] for p in "qkv"}
        uses = {p: [use for use in u if use[0] in names] for p, u in uses.items()}
        attention(s, n, heads, kv, d_head, uses | {"o": [(f"{a}.o_proj.weight", 1, 0)]}, rotary=True)
        inner = [(f"{n}.mlp.{p}_proj.{kind}", 0, 0) for p in ("gate", "up") for kind in ("weight", "bias")]
        inner = [use for use in inner if use[0] in names] + [(f"{n}.mlp.down_proj.weight", 1, 0)]
        s.free(f"{n}.mlp", ff, inner)
    s.free("stream", d, [use for use in stream if use[0] in names])
    return s


def encoder(
    layers: int,
    heads: int,
    d: int,
    ff: int,
    stream: Uses,
    parts: dict[str, str],
    extra: list[tuple[str, int, Uses]] = (),
) -> Symmetries:
    """Of BERT and ViT; ``parts`` are patterns of the names of q, k, v, o, in, out and the norms."""
    s = Symmetries({}, {})
    for i in range(layers):
        names = {part: pattern.format(i) for part, pattern in parts.items()}
        for part in ("q", "k", "v", "in"):
            stream = [*stream, (f"{names[part]}.weight", 1, 0)]
        for part in ("o", "out", "norm1", "norm2"):
            stream = [*stream, (f"{names[part]}.weight", 0, 0), (f"{names[part]}.bias", 0, 0)]
        uses: dict[str, Uses] = {p: [(f"{names[p]}.weight", 0, 0), (f"{names[p]}.bias", 0, 0)] for p in "qkv"}
        attention(s, f"layer.{i}", heads, heads, d // heads, uses | {"o": [(f"{names['o']}.weight", 1, 0)]})
        inner = [(f"{names['in']}.weight", 0, 0), (f"{names['in']}.bias", 0, 0), (f"{names['out']}.weight", 1, 0)]
        s.free(f"mlp.{i}", ff, inner)
    s.free("stream", d, stream)
    for space in extra:
        s.free(*space)
    return s
