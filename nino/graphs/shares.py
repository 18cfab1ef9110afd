"""A neural graph's edges shared out among processes: each has those whose weights lie in its boxes of parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

from nino.graphs.core import Block, Parameter, WeightView
from nino.graphs.graph import NeuralGraph
from nino.ranks import Ranks

Box = tuple[slice, ...] | None
"""A range along each dimension of a parameter; None holds nothing of it."""


def share(graph: NeuralGraph, boxes: Mapping[str, Box], ranks: Ranks) -> NeuralGraph:
    """This process's share of a graph: its edges; nodes, and their positions, are those of the whole.

    Its ``parameters`` are the boxes, each flattened row by row into a flat vector of their own.

    Args:
        graph: the whole.
        boxes: its box of each parameter, by name; those of all processes together hold every element once.
        ranks: this process among those that share the graph.

    Raises:
        ValueError: for a box that cuts through an edge: some, but not all, of its kernel positions lie in it.
    """
    wholes = {p.name: p for p in graph.parameters}
    boxed: list[Parameter] = []
    for p in graph.parameters:
        box = boxes[p.name]
        shape = (0,) if box is None else tuple(cut.stop - cut.start for cut in box)
        boxed.append(Parameter(p.name, boxed[-1].slice.stop if boxed else 0, shape))
    by_name = {p.name: p for p in boxed}
    blocks: list[Block] = []
    for block in graph.blocks:
        if block.weight is None:
            blocks += _even(block, ranks)
        else:
            blocks += clip(block, wholes[block.name], boxes[block.name], by_name[block.name].offset)
    return replace(graph, blocks=tuple(blocks), parameters=tuple(boxed), ranks=ranks, of=graph.whole, _cache={})


def aligned(blocks: Sequence[Block], parameter: Parameter, box: Box) -> bool:
    """Whether a box of a parameter, on whose edges ``blocks`` are, cuts through no edge."""
    try:
        for block in blocks:
            clip(block, parameter, box, 0)
    except ValueError:
        return False
    return True


def clip(block: Block, parameter: Parameter, box: Box, offset: int) -> list[Block]:
    """The parts of a block whose weights lie in a box.

    Args:
        block: with weights in ``parameter``.
        parameter: as it lies in the whole flat vector.
        box: of it.
        offset: where the box begins in the flat vector of boxes.

    Raises:
        ValueError: for a box that cuts through an edge.
    """
    assert block.weight is not None
    if box is None:
        return []
    shape, ranges = _merged(parameter.shape, box)
    if any(lo >= hi for lo, hi in ranges):
        return []
    steps = [_coordinates(stride, shape) for stride in block.weight.strides]
    origin = _coordinates(block.weight.offset - parameter.offset, shape)
    sizes = [block.source.size, block.target.size if block.kind == "dense" else 1, block.features]
    steps = [step if size > 1 else [0] * len(shape) for step, size in zip(steps, sizes, strict=True)]
    if any(
        start + sum((n - 1) * step[d] for n, step in zip(sizes, steps, strict=True)) >= shape[d]
        for d, start in enumerate(origin)
    ):
        raise ValueError(f"block {block.name!r}: an axis of its weights runs across a cut of the parameter")
    parts: list[list[tuple[int, int]]] = [[(0, n) for n in sizes]]
    for d, (lo, hi) in enumerate(ranges):
        parts = [piece for part in parts for piece in _within(part, origin[d], [s[d] for s in steps], lo, hi, block)]
    strides = _strides([hi - lo for lo, hi in ranges])
    along = [sum(s * n for s, n in zip(step, strides, strict=True)) for step in steps]
    clipped = []
    for source, target, _ in parts:
        first = sum((o - lo) * n for o, (lo, _), n in zip(origin, ranges, strides, strict=True))
        first += source[0] * along[0] + target[0] * along[1]
        targets = source if block.kind == "diagonal" else target
        clipped.append(
            replace(
                block,
                source=block.source[slice(*source)],
                target=block.target[slice(*targets)],
                weight=WeightView(offset + first, (along[0], along[1], along[2])),
            )
        )
    return clipped


def _merged(shape: Sequence[int], box: Sequence[slice]) -> tuple[list[int], list[tuple[int, int]]]:
    """A shape and the box's ranges with dimensions that the box does not cut joined to those before them."""
    sizes, ranges = [1], [(0, 1)]
    for size, cut in zip(shape, box, strict=True):
        whole = (cut.start, cut.stop) == (0, size)
        if whole and (0, sizes[-1]) == ranges[-1]:
            sizes[-1] *= size
            ranges[-1] = (0, sizes[-1])
        else:
            sizes.append(size)
            ranges.append((cut.start, cut.stop))
    return sizes, ranges


def _strides(shape: Sequence[int]) -> list[int]:
    """Of a tensor of this shape, row by row."""
    return list(accumulate(reversed(shape[1:]), lambda n, size: n * size, initial=1))[::-1]


def _coordinates(place: int, shape: Sequence[int]) -> list[int]:
    """Of the element at ``place``, or of a step between elements."""
    coordinates = []
    for stride in _strides(shape):
        coordinates.append(place // stride)
        place %= stride
    return coordinates


def _within(
    part: list[tuple[int, int]], origin: int, steps: list[int], lo: int, hi: int, block: Block
) -> list[list[tuple[int, int]]]:
    """What of a part (ranges along sources, targets, kernel positions) lies in lo .. hi - 1 of one dimension."""
    axes = sorted((a for a in range(3) if steps[a] and part[a][1] - part[a][0] > 1), key=lambda a: -steps[a])
    first = origin + sum(step * start for step, (start, _) in zip(steps, part, strict=True))
    last = first + sum(steps[a] * (part[a][1] - part[a][0] - 1) for a in axes)
    if lo <= first and last < hi:
        return [part]
    if last < lo or first >= hi or not axes:
        return []
    outer = axes[0]
    if outer == 2:
        raise ValueError(f"block {block.name!r}: the kernel positions of an edge lie on both sides of a cut")
    start, stop = part[outer]
    reach = last - first - steps[outer] * (stop - start - 1)  # of the other axes together
    inside = range(
        max(start - (first - lo) // steps[outer], start),
        min(start + (hi - 1 - reach - first) // steps[outer] + 1, stop),
    )
    inner = []
    if len(inside):
        inner.append([*part[:outer], (inside.start, inside.stop), *part[outer + 1 :]])
    if reach:
        for i in range(start, stop):
            if i not in inside:
                one = [*part[:outer], (i, i + 1), *part[outer + 1 :]]
                inner += _within(one, origin, steps, lo, hi, block)
    return inner


def _even(block: Block, ranks: Ranks) -> list[Block]:
    """This process's part of a block without weights, cut along its longer side."""
    if block.kind == "diagonal":
        cut = ranks.cut(block.source.size)
        part = replace(block, source=block.source[cut], target=block.target[cut])
    elif block.source.size > block.target.size:
        part = replace(block, source=block.source[ranks.cut(block.source.size)])
    else:
        part = replace(block, target=block.target[ranks.cut(block.target.size)])
    return [part] if part.num_edges else []
