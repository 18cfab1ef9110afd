"""How a nowcast's change lies over a network's parameters: each tensor's, beside how far it had just moved."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from nino.graphs import NeuralGraph
from nino.optim import NiNo
from nino.optim.nowcast_record import NowcastRecord

QUANTILES = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}
COLUMNS = ("step", "k", "tensor", "kind", "elements", "movement", "change", *QUANTILES, "largest")
SAMPLE = 65_536  # elements of a tensor that its quantiles are of, evenly spread: a sort of millions would cost seconds


@torch.no_grad()
def jump_rows(opt: NiNo, record: NowcastRecord) -> list[dict[str, Any]]:
    r"""What a nowcast that has just been taken did to each parameter tensor, a row of ``jumps.csv`` each.

    With :math:`\theta_t` the state at the nowcast, :math:`\theta_{t-s}` the one saved before it and n elements,
    ``movement`` is :math:`m = \lVert\theta_t - \theta_{t-s}\rVert_2`, ``change`` is :math:`\lVert\Delta\rVert_2` of the
    nowcast's change, and the quantiles and ``largest`` are those of :math:`|\Delta_i| \sqrt n / m`: how many times the
    tensor's root-mean-square movement over one spacing an element jumped. A change of k movements in their own
    direction has a root mean square of k there.

    Args:
        opt: the wrapper, in a hook after its nowcast: its history still holds the states.
        record: of the nowcast.

    Returns:
        A row a tensor that nowcasts write, in the order of the parameters, with None for what is not defined (a tensor
        that did not move); no rows for a nowcast that was put back, and where fewer than two states are kept.
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
    """Quantiles and maximum of the elements' changes in a unit; None where that is zero."""
    if not unit > 0:
        return dict.fromkeys((*QUANTILES, "largest"))
    shown = sizes[:: -(-len(sizes) // SAMPLE)]
    levels = torch.tensor(list(QUANTILES.values()), dtype=shown.dtype, device=shown.device)
    found = torch.quantile(shown, levels) / unit
    return dict(zip(QUANTILES, found.tolist(), strict=True)) | {"largest": float(sizes.max()) / unit}


def tensor_kinds(graph: NeuralGraph) -> dict[str, str]:
    """What the weights of each tensor are, by their edges' types; tensors that lie on no edge are left out.

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
    return {name: " + ".join(dict.fromkeys(found)) for name, found in kinds.items() if found}
