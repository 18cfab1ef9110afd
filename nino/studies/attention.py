"""An attention layer, and renumberings of its hidden neurons that keep or change its function.

Shape legend: d width, H heads, n permutations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nino.seeding import derive

TOLERANCE = 1e-9
"""Largest difference of outputs, in float64 and relative to their size, of a permutation that keeps the function."""


class AttentionLayer(nn.Module):
    """One multi-head self-attention layer with biases, weights of variance 1/d, in float64.

    Args:
        width: d.
        heads: H.
        seed: of weights and biases.

    Shapes:
        (tokens, batch, d) -> (tokens, batch, d)
    """

    def __init__(self, width: int, heads: int, seed: int) -> None:
        """Draw all parameters: PyTorch's own have zero biases, which would hide faults."""
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, dtype=torch.float64)
        generator = torch.Generator().manual_seed(derive(seed, "init"))
        with torch.no_grad():
            for parameter in self.attention.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / width**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Self-attention without weights."""
        return self.attention(x, x, x, need_weights=False)[0]


@dataclass(frozen=True)
class Permutations:
    """Renumberings of the hidden neurons of one layer.

    Args:
        queries: (n, d), which neuron's query and key weights stand at each place.
        values: (n, d), the same of the value weights and of the columns of the output projection.
        good: (n,), whether the function is kept.
    """

    queries: NDArray[np.int64]
    values: NDArray[np.int64]
    good: NDArray[np.bool_]

    def __len__(self) -> int:
        """Number of permutations n."""
        return len(self.good)


def draw(width: int, heads: int, count: int, seed: int, layer: nn.Module) -> Permutations:
    """Draw permutations of four families, equally often, and find out which keep the function by computing it.

    Two families keep it: heads in another order with queries and keys permuted inside each head, and values likewise
    (independently of them, or alike). Two do not, but for chance: one permutation of all neurons across heads, and
    queries and values permuted across heads independently. A graph that merges heads and ties queries to values cannot
    tell the one pair from the other: it stays the same where queries and values are permuted alike, and changes where
    they are not, in both pairs.

    Args:
        width: d.
        heads: H, divides d.
        count: n.
        seed: of the draws.
        layer: the network that they are permutations of.

    Returns:
        The permutations, in random order.
    """
    rng = np.random.default_rng(derive(seed, "permutations"))
    rows: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for i in range(count):
        family = i % 4
        if family < 2:
            order = rng.permutation(heads)
            queries = _inside_heads(rng, order, width // heads)
            values = _inside_heads(rng, order, width // heads) if family == 0 else queries
        else:
            queries = rng.permutation(width)
            values = rng.permutation(width) if family == 3 else queries
        rows.append((queries, values))
    shuffled = [rows[i] for i in rng.permutation(count)]
    queries, values = (np.stack(part) for part in zip(*shuffled, strict=True))
    inputs = torch.from_numpy(rng.standard_normal((5, 3, width)))
    return Permutations(queries, values, _keeps_function(layer, queries, values, inputs))


def _inside_heads(rng: np.random.Generator, order: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Heads in a given order, neurons shuffled inside each."""
    return np.concatenate([head * size + rng.permutation(size) for head in order])


def permute(state: dict[str, Tensor], queries: Tensor, values: Tensor) -> dict[str, Tensor]:
    """The parameters of a layer with its hidden neurons renumbered.

    Args:
        state: of an ``AttentionLayer``.
        queries: (d,), order of queries and keys.
        values: (d,), order of values and of the output projection's columns.

    Returns:
        Parameters of the same names.
    """
    width = len(queries)
    rows = torch.cat([queries, width + queries, 2 * width + values])
    return {
        "attention.in_proj_weight": state["attention.in_proj_weight"][rows],
        "attention.in_proj_bias": state["attention.in_proj_bias"][rows],
        "attention.out_proj.weight": state["attention.out_proj.weight"][:, values],
        "attention.out_proj.bias": state["attention.out_proj.bias"],
    }


def _keeps_function(
    layer: nn.Module, queries: NDArray[np.int64], values: NDArray[np.int64], inputs: Tensor
) -> NDArray[np.bool_]:
    state = {name: p.detach() for name, p in layer.named_parameters()}
    good = []
    with torch.no_grad():
        unchanged = layer(inputs)
        for orders in zip(queries, values, strict=True):
            permuted = permute(state, *map(torch.from_numpy, orders))
            outputs = torch.func.functional_call(layer, permuted, (inputs,))
            good.append(bool((outputs - unchanged).abs().max() <= TOLERANCE * unchanged.abs().max()))
    return np.array(good)
