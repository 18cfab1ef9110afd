"""Rows of neurons as blocks between ranges of nodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from nino.graphs.builder import MAX_FEATURES
from nino.graphs.core import Block, EdgeType, Nodes, WeightView
from nino.graphs.recorded.neurons import Labels, Universe

_ATTENTION = (EdgeType.QUERY, EdgeType.KEY, EdgeType.VALUE)


@dataclass(slots=True)
class Piece:
    """Part of a parameter between rows of neurons, before nodes have numbers.

    Args:
        name: the parameter.
        source: labels (S,), or one for a node of its own.
        target: labels (T,).
        edge_type: the edges' type.
        diagonal: whether the i-th source joins the i-th target only.
        window: (S, T, F), or (S, F) where diagonal.
    """

    name: str
    source: Labels
    target: Labels
    edge_type: EdgeType
    diagonal: bool
    window: Tensor


def roles_of(labels: Labels, neurons: Universe) -> Labels:
    """The part that each neuron has in attention, as the type of the edges that make it."""
    roles = np.full(labels.shape, int(EdgeType.LINEAR))
    for kind in _ATTENTION:
        for chosen in neurons.roles[kind]:
            roles[np.isin(labels, chosen)] = int(kind)
    return roles


def blocks_of(piece: Piece, neurons: Universe, number: Labels) -> Iterator[Block]:
    """Contiguous ranges of nodes and strided windows between them."""
    for role, source, target, window in _by_role(piece, neurons):
        s, t = number[neurons.find(source)], number[neurons.find(target)]
        for part in window.split(MAX_FEATURES, dim=-1):
            if piece.diagonal:
                yield from _diagonal_blocks(piece.name, s, t, part, role)
                continue
            for s0, n, si, ds in _runs(s):
                for t0, m, ti, dt in _runs(t):
                    yield _dense_block(piece.name, (s0, n), (t0, m), part[si : si + ds * n : ds, ti : ti + dt * m : dt],
                                       role)  # fmt: skip


def _dense_block(name: str, source: tuple[int, int], target: tuple[int, int], w: Tensor, role: EdgeType) -> Block:
    one, two, three = w.stride()
    view = WeightView(int(w.storage_offset()), (one, two, three))
    return Block(name, Nodes(*source), Nodes(*target), role, "dense", view, w.shape[2])


def _diagonal_blocks(name: str, s: Labels, t: Labels, w: Tensor, role: EdgeType) -> Iterator[Block]:
    breaks = np.flatnonzero((np.diff(s) != 1) | (np.diff(t) != 1)) + 1
    for run in np.split(np.arange(len(s)), breaks):
        part = w[int(run[0]) : int(run[-1]) + 1]
        view = WeightView(int(part.storage_offset()), (part.stride(0), 0, part.stride(1)))
        source, target = Nodes(int(s[run[0]]), len(run)), Nodes(int(t[run[0]]), len(run))
        yield Block(name, source, target, role, "diagonal", view, w.shape[1])


def _by_role(piece: Piece, neurons: Universe) -> Iterator[tuple[EdgeType, Labels, Labels, Tensor]]:
    """Rows of a linear map that make queries, keys and values apart; a key's edges point back."""
    if piece.edge_type is not EdgeType.LINEAR or piece.diagonal:
        yield piece.edge_type, piece.source, piece.target, piece.window
        return
    roles = roles_of(piece.target, neurons)
    cuts = np.flatnonzero(np.diff(roles)) + 1
    for run in np.split(np.arange(len(roles)), cuts):
        kind = EdgeType(int(roles[run[0]]))
        window = piece.window[:, int(run[0]) : int(run[-1]) + 1]
        target = piece.target[run]
        if kind is EdgeType.KEY:
            yield kind, target, piece.source, window.transpose(0, 1)
        else:
            yield kind, piece.source, target, window


def _runs(nodes: Labels) -> list[tuple[int, int, int, int]]:
    """Node ranges in a row of nodes: (first node, how many, index of the first, step between indices)."""
    order = np.lexsort((np.arange(len(nodes)), nodes))
    out: list[tuple[int, int, int, int]] = []
    first = 0
    for i in range(1, len(order) + 1):
        if i < len(order) and nodes[order[i]] - nodes[order[i - 1]] == 1:
            step = order[i] - order[i - 1]
            if step > 0 and (i - first < 2 or step == order[first + 1] - order[first]):
                continue
        step = int(order[first + 1] - order[first]) if i - first > 1 else 1
        out.append((int(nodes[order[first]]), i - first, int(order[first]), step))
        first = i
    return out


def auxiliary(neurons: Universe, number: Labels) -> Iterator[Block]:
    """Auxiliary edges, each pair once, as ranges."""
    seen: set[tuple[int, int, int]] = set()
    for source, target, kind in neurons.edges:
        s, t = number[neurons.find(source)], number[neurons.find(target)]
        pairs = []
        for a, b in zip(s.tolist(), t.tolist(), strict=True):
            if a != b and (a, b, int(kind)) not in seen:
                seen.add((a, b, int(kind)))
                pairs.append((a, b))
        edges = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        by_source, by_target = (edges[np.lexsort((edges[:, 1 - end], edges[:, end]))] for end in (0, 1))
        yield from min((list(_ranges(order, kind)) for order in (edges, by_source, by_target)), key=len)


def _ranges(pairs: Labels, kind: EdgeType) -> Iterator[Block]:
    """Consecutive pairs as blocks: one to one, one to many, many to one."""
    i = 0
    while i < len(pairs):
        step = tuple(pairs[i + 1] - pairs[i]) if i + 1 < len(pairs) else (1, 1)
        j = i + 1
        if step in ((1, 1), (0, 1), (1, 0)):
            while j < len(pairs) and tuple(pairs[j] - pairs[j - 1]) == step:
                j += 1
        n = j - i
        source = Nodes(int(pairs[i][0]), n if step[0] else 1) if n > 1 else Nodes(int(pairs[i][0]), 1)
        target = Nodes(int(pairs[i][1]), n if step[1] else 1) if n > 1 else Nodes(int(pairs[i][1]), 1)
        shape = "diagonal" if step == (1, 1) or n == 1 else "dense"
        yield Block(f"{kind.name.lower()}.{source.start}-{target.start}", source, target, kind, shape)  # type: ignore[arg-type]
        i = j
