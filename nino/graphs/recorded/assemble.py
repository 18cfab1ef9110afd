"""From what was read to a neural graph: nodes get numbers, parameters blocks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import torch
from torch import Tensor

from nino.graphs.core import EdgeType, Nodes, Parameter
from nino.graphs.graph import NeuralGraph
from nino.graphs.recorded.blocks import Piece, auxiliary, blocks_of, roles_of
from nino.graphs.recorded.neurons import Labels, Universe
from nino.graphs.recorded.placing import End, Placement
from nino.graphs.recorded.reading import Reading
from nino.graphs.structure import UNREAD

_ATTENTION = (EdgeType.QUERY, EdgeType.KEY, EdgeType.VALUE)


def assemble(reading: Reading, state: set[str], topology: str) -> NeuralGraph:
    """The graph of what was read; parameters that lie on no edge are carried, with the operation that stopped them."""
    neurons = reading.neurons
    reading.parts.tell_apart()
    parameters = [p for p in reading.weights.parameters if p.name not in state]
    pieces: list[Piece] = []
    reasons = dict(reading.stopped)
    held: dict[str, list[Placement]] = defaultdict(list)
    for placement in {**reading.placements, **reading.regrouped}.values():
        if placement.name not in state:
            held[placement.name].append(placement)
    for p in parameters:
        windows = held.get(p.name, [])
        if p.numel and p.name not in reasons and _once([w.window for w in windows], p):
            for placement in windows:
                pieces.extend(_pieces(placement, neurons))
        elif p.numel:
            for end in (end for placement in windows for end in placement.ends):
                if neurons.met(end.labels).any():  # what a carried parameter reads or makes keeps its order
                    neurons.fix(end.labels, f"{p.name} is carried")
            unused = reading.readers.get(p.name, UNREAD)
            reasons.setdefault(p.name, "it is used in parts that overlap or leave some out" if windows else unused)
    carried = [p.name for p in parameters if p.name in reasons and p.numel]
    if topology == "released":
        pieces = _released(pieces, neurons)
    number, groups, fixed = _numbered(reading, pieces)
    blocks = [block for piece in pieces for block in blocks_of(piece, neurons, number)]
    blocks += list(auxiliary(neurons, number))
    words = _words(neurons, number, groups)
    size = int(number.max()) + 1 if number.size else 0
    return NeuralGraph(
        groups=groups,
        blocks=tuple(blocks),
        parameters=tuple(parameters),
        num_nodes=size,
        topology=topology,
        origin="recorded",
        fixed=frozenset(fixed),
        word_nodes=words,
        carried=tuple(carried),
        reasons={name: reasons[name] for name in carried},
        buffers={p.name: _buffer(p, reading, number) for p in reading.weights.parameters if p.name in state},
    )


def _once(windows: Sequence[Tensor], p: Parameter) -> bool:
    """Whether each element of a parameter is in exactly one of the windows."""
    if sum(w.numel() for w in windows) != p.numel:
        return False
    if len(windows) == 1 and windows[0].is_contiguous() and windows[0].storage_offset() == p.offset:
        return True
    met = torch.zeros(p.numel, dtype=torch.bool)
    for w in windows:
        start = w.storage_offset() - p.offset
        last = start + sum((size - 1) * stride for size, stride in zip(w.shape, w.stride(), strict=True))
        if start < 0 or last >= p.numel:
            return False
        met.as_strided(w.shape, w.stride(), start).fill_(True)
    return bool(met.all())


def _pieces(placement: Placement, neurons: Universe) -> Iterator[Piece]:
    """A placement as rows of neurons: roles of attention, own nodes of biases, shared dimensions one by one."""
    window, name = placement.window, placement.name
    met = [e for e in placement.ends if e.labels.size and neurons.met(e.labels).all()]
    target, sources = (met[0], met[1:]) if met else (None, [])
    if target is None:
        labels = neurons.new(f"{name}.value", (), met=True)
        target = End((), labels)
    source = sources[0] if sources else None
    for extra in sources[1:]:
        neurons.fix(extra.labels, f"{name} has one kernel position for each")
    if source is None:
        yield from _stars(placement, target, neurons)
        return
    shared = [d for d in source.dims if d in target.dims]
    only_s = [d for d in source.dims if d not in shared]
    only_t = [d for d in target.dims if d not in shared]
    rest = [d for d in range(window.ndim) if d not in source.dims and d not in target.dims]
    w = window.permute([*shared, *only_s, *only_t, *rest])
    s = source.labels.transpose([source.dims.index(d) for d in (*shared, *only_s)])
    t = target.labels.transpose([target.dims.index(d) for d in (*shared, *only_t)])
    n = len(shared)
    if not only_s and not only_t and n:
        for index in product(*(range(k) for k in s.shape[:-1])):
            one, other = np.asarray(s[index]), np.asarray(t[index])
            for part in _features(w[index], 1):
                yield Piece(name, one, other, placement.edge_type, True, part)
        return
    for index in product(*(range(k) for k in s.shape[:n])):
        yield from _dense(name, np.asarray(s[index]), np.asarray(t[index]), w[index], placement.edge_type)


def _dense(name: str, s: Labels, t: Labels, w: Tensor, edge_type: EdgeType) -> Iterator[Piece]:
    """Every source to every target; neurons along several dimensions are one row where strides allow."""
    w, s = _rowed(w, s, 0)
    if s.ndim > 1:
        for i in range(s.shape[0]):
            yield from _dense(name, s[i], t, w[i], edge_type)
        return
    w, t = _rowed(w, t, 1)
    if t.ndim > 1:
        for i in range(t.shape[0]):
            yield from _dense(name, s, t[i], w.select(1, i), edge_type)
        return
    for part in _features(w, 2):
        yield Piece(name, s, t, edge_type, False, part)


def _rowed(w: Tensor, labels: Labels, at: int) -> tuple[Tensor, Labels]:
    """The window's dimensions from ``at`` on, as many as the labels have, as one."""
    if labels.ndim == 0:
        return w.unsqueeze(at), labels.reshape(1)
    if labels.ndim == 1:
        return w, labels
    sizes = [*w.shape[:at], labels.size, *w.shape[at + labels.ndim :]]
    try:
        return w.view(sizes), labels.reshape(-1)
    except RuntimeError:
        return w, labels


def _features(w: Tensor, neurons: int) -> Iterator[Tensor]:
    """The dimensions after the neurons' as one (kernel positions); several windows where strides do not allow one."""
    if w.ndim == neurons:
        yield w.unsqueeze(-1)
        return
    strides = w.stride()
    order = sorted(range(neurons, w.ndim), key=lambda d: -strides[d])
    for dims in (range(neurons, w.ndim), order):
        try:
            flat = w.permute(*range(neurons), *dims).view(*w.shape[:neurons], -1)
        except RuntimeError:
            continue
        yield flat
        return
    for part in w.unbind(order[0]):  # a copy would lie elsewhere on the flat vector
        yield from _features(part, neurons)


def _stars(placement: Placement, target: End, neurons: Universe) -> Iterator[Piece]:
    """A node of its own joined to each target."""
    rest = [d for d in range(placement.window.ndim) if d not in target.dims]
    w = placement.window.permute([*target.dims, *rest])
    kind = placement.edge_type
    if kind in (EdgeType.LINEAR, EdgeType.CONV):
        kind = EdgeType.BIAS
    if target.labels.ndim != 1:
        node = neurons.new(placement.name, (1,), met=True)
        yield from _dense(placement.name, node, target.labels, w.unsqueeze(0), kind)
        return
    for run in _same_role(target.labels, neurons):  # a bias of fused queries, keys and values has a node for each
        node = neurons.new(placement.name, (1,), met=True, fixed=kind is EdgeType.WORD_EMBEDDING)
        if kind is EdgeType.WORD_EMBEDDING and neurons.words is None:  # a class token
            neurons.words = node
        part = w[int(run[0]) : int(run[-1]) + 1]
        yield from _dense(placement.name, node, target.labels[run], part.unsqueeze(0), kind)


def _released(pieces: list[Piece], neurons: Universe) -> list[Piece]:
    """The convention of the networks that the released weights were fitted to: a key's bias hangs on what keys read."""
    readers: dict[int, Piece] = {}
    for piece in pieces:
        if piece.edge_type is EdgeType.LINEAR and not piece.diagonal:
            keys = piece.target[roles_of(piece.target, neurons) == int(EdgeType.KEY)]
            if len(keys) == len(piece.source):
                readers.update(dict.fromkeys(keys.tolist(), piece))
    return [
        replace(piece, target=readers[int(piece.target[0])].source)
        if piece.edge_type is EdgeType.BIAS and all(label in readers for label in piece.target.tolist())
        else piece
        for piece in pieces
    ]


def _same_role(labels: Labels, neurons: Universe) -> list[Labels]:
    """Indices of consecutive neurons of the same role in attention."""
    return np.split(np.arange(len(labels)), np.flatnonzero(np.diff(roles_of(labels, neurons))) + 1)


# -- numbers -----------------------------------------------------------------------------------------------------------


def _numbered(reading: Reading, pieces: Sequence[Piece]) -> tuple[Labels, dict[str, Nodes], set[str]]:
    """A node for every neuron that an edge reaches, in the order in which they were made; groups are runs of them."""
    neurons = reading.neurons
    used = np.zeros(sum(r.size for r in neurons), dtype=bool)
    for piece in pieces:
        used[neurons.find(piece.source)] = used[neurons.find(piece.target)] = True
    for source, target, _ in neurons.edges:
        used[neurons.find(source)] = used[neurons.find(target)] = True
    number = np.cumsum(used) - 1
    number[~used] = -1
    groups: dict[str, Nodes] = {}
    fixed: set[str] = set()
    everything = np.arange(len(used))
    is_fixed = neurons.fixed(everything)
    for made in neurons:
        inside = everything[made.start : made.start + made.size]
        inside = inside[used[inside]]
        for run in _split(inside, is_fixed[inside]):
            name = _unused(made.name, groups)
            groups[name] = Nodes(int(number[run[0]]), len(run))
            if is_fixed[run[0]]:
                fixed.add(name)
    return number, groups, fixed


def _split(inside: Labels, flags: np.ndarray) -> list[Labels]:
    if not inside.size:
        return []
    cuts = np.flatnonzero(np.diff(flags.astype(np.int8)) != 0) + 1
    return np.split(inside, cuts)


def _buffer(parameter: Parameter, reading: Reading, number: Labels) -> tuple[tuple[int, Tensor], ...]:
    """Nodes along the dimensions of a buffer that the forward writes."""
    out = []
    dims = [d for d, size in enumerate(parameter.shape) if size != 1]
    for placement in reading.placements.values():
        if placement.name == parameter.name and placement.window.numel() == parameter.numel:
            for end in placement.ends:
                nodes = number[reading.neurons.find(end.labels)]
                if len(end.dims) == 1 and (nodes >= 0).all():
                    out.append((dims[end.dims[0]], torch.from_numpy(nodes)))
    return tuple(out)


def _unused(name: str, groups: dict[str, Nodes]) -> str:
    candidate, count = name, 1
    while candidate in groups:
        count += 1
        candidate = f"{name}#{count}"
    return candidate


def _words(neurons: Universe, number: Labels, groups: dict[str, Nodes]) -> Nodes | None:
    if neurons.words is None:
        return None
    nodes = number[neurons.find(neurons.words)]
    if nodes.min() < 0 or not np.array_equal(nodes, np.arange(nodes[0], nodes[0] + len(nodes))):
        return None
    return Nodes(int(nodes[0]), len(nodes))
