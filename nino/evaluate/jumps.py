"""How a nowcast's change is distributed over a network's parameters, relative to how far each tensor had just moved."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from nino.evaluate.run_folder import QUANTILES
from nino.graphs import NeuralGraph
from nino.optim import NiNo
from nino.optim.record import NowcastRecord

SAMPLE = 65_536  # elements that a tensor's quantiles are of, evenly spaced: sorting millions would take seconds


@torch.no_grad()
def jump_rows(opt: NiNo, record: NowcastRecord) -> list[dict[str, Any]]:
    r"""What a nowcast did to each parameter tensor: one row of ``jumps.csv`` per tensor.

    For a tensor of n elements, let :math:`\theta_t` be the state at the nowcast, :math:`\theta_{t-s}` the state saved
    before it, and :math:`\Delta` the nowcast's change. ``movement`` is
    :math:`m = \lVert\theta_t - \theta_{t-s}\rVert_2`, ``change`` is :math:`\lVert\Delta\rVert_2`, and the quantiles
    and ``largest`` are those of :math:`|\Delta_i| \sqrt n / m`, the change of an element in units of the tensor's
    root-mean-square movement over one spacing. A nowcast that repeats the last movement k times has a root mean square
    of k there.

    Args:
        opt: the wrapper, in a hook after its nowcast, when its history still holds the states.
        record: of the nowcast.

    Returns:
        A row for each tensor that nowcasts write, in the order of the parameters, with None for what is not defined
        (for a tensor that did not move). No rows for a nowcast that was rejected, or if fewer than two states are kept.
    """
    states = opt.history.states()
    if not record.accepted or opt.graph is None or states.shape[1] < 2:
        return []
    kinds = tensor_kinds(opt.graph)
    rows = []
    for place, parameter in zip(opt.graph.parameters, opt.named.values(), strict=True):
        if place.name not in kinds or not parameter.requires_grad:
            continue
        part = states[place.slice, -2:].float()  # (numel, 2): the state before, the state at the nowcast
        change = parameter.detach().to(part).flatten() - part[:, -1]
        movement = float(torch.linalg.vector_norm(part[:, -1] - part[:, -2]))
        row = {"step": record.step, "k": record.k, "tensor": place.name, "kind": kinds[place.name]}
        row |= {"elements": place.numel, "movement": movement, "change": float(torch.linalg.vector_norm(change))}
        rows.append(row | _spread(change.abs(), movement / math.sqrt(place.numel)))
    return rows


def _spread(sizes: Tensor, unit: float) -> dict[str, float | None]:
    """Quantiles and maximum of the elements' changes, in a unit; None if the unit is zero."""
    if not unit > 0:
        return dict.fromkeys((*QUANTILES, "largest"))
    shown = sizes[:: -(-len(sizes) // SAMPLE)]
    levels = torch.tensor(list(QUANTILES.values()), dtype=shown.dtype, device=shown.device)
    quantiles = torch.quantile(shown, levels) / unit
    return dict(zip(QUANTILES, quantiles.tolist(), strict=True)) | {"largest": float(sizes.max()) / unit}


def tensor_kinds(graph: NeuralGraph) -> dict[str, str]:
    """The kind of weights that each tensor holds, by the types of its edges; tensors without edges are left out.

    >>> from torch import nn
    >>> from nino.graphs import neural_graph
    >>> tensor_kinds(neural_graph(nn.Sequential(nn.Linear(3, 2))))
    {'0.weight': 'linear', '0.bias': 'bias'}
    """
    kinds: dict[str, list[str]] = {place.name: [] for place in graph.parameters}
    for block in graph.blocks:
        if block.weight is not None:
            offset = block.weight.offset
            place = next(p for p in graph.parameters if p.offset <= offset < p.offset + p.numel)
            kinds[place.name].append(block.edge_type.name.lower().replace("_", " "))
    return {name: " + ".join(dict.fromkeys(types)) for name, types in kinds.items() if types}
