"""The inputs of a learned optimizer for each parameter: 28 features of its past, 11 of the time.

Shape legend: a tensor of n elements is seen as an (R, C) matrix of its first axis and the rest; vectors have C = 1.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

MOMENTUM_DECAYS = (0.9, 0.99, 0.999)
SECOND_DECAY = 0.999
FACTORED_DECAYS = (0.9, 0.99, 0.999)
TIMESCALES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5)
PARAMETER_FEATURES = 28
NUM_FEATURES = PARAMETER_FEATURES + len(TIMESCALES)
# Both keep roots and quotients finite. EPSILON is far below squared gradients (1e-4 early in a training, 1e-9 late and
# in the slowest accumulators), NORM_EPSILON far below the squares of these.
EPSILON = 1e-12
NORM_EPSILON = 1e-30

State = dict[str, Tensor]


def fresh_state(parameter: Tensor) -> State:
    r"""Accumulators of a tensor before its first gradient: all zero.

    Args:
        parameter: of any shape.

    Returns:
        ``momenta`` (3, \\*shape), ``second`` (\\*shape), ``rows`` (3, R) and ``columns`` (3, C), like the parameter.
    """
    rows = parameter.shape[0] if parameter.ndim else 1
    columns = parameter.numel() // max(rows, 1)
    return {
        "momenta": parameter.new_zeros(len(MOMENTUM_DECAYS), *parameter.shape),
        "second": torch.zeros_like(parameter, memory_format=torch.contiguous_format),
        "rows": parameter.new_zeros(len(FACTORED_DECAYS), rows),
        "columns": parameter.new_zeros(len(FACTORED_DECAYS), columns),
    }


def accumulate(state: State, gradient: Tensor) -> None:
    r"""Take a gradient into the accumulators, in place: :math:`a \leftarrow \beta a + (1 - \beta) x`.

    x is g for the momenta, :math:`g^2` for the second moment, and its means over rows and over columns for the factored
    moments (Shazeer and Stern, 2018).

    Args:
        state: of the tensor.
        gradient: like the parameter.
    """
    squared = gradient.square()
    matrix = squared.reshape(state["rows"].shape[1], -1)
    for i, decay in enumerate(MOMENTUM_DECAYS):
        state["momenta"][i].lerp_(gradient, 1 - decay)
    state["second"].lerp_(squared, 1 - SECOND_DECAY)
    for i, decay in enumerate(FACTORED_DECAYS):
        state["rows"][i].lerp_(matrix.mean(1), 1 - decay)
        state["columns"][i].lerp_(matrix.mean(0), 1 - decay)


def features(parameter: Tensor, gradient: Tensor, state: State, step: int) -> Tensor:
    r"""The features of each element, as in ``small_fc_lopt`` (Metz et al., 2022, appendix).

    With momenta :math:`m_i`, second moment v, and row and column moments r, c whose product :math:`r c / \bar r` stands
    for a matrix v: g, p, :math:`m_i`, v, :math:`m_i / \sqrt v`, :math:`1 / \sqrt v`, g over each factored root,
    r, c and their inverse roots at three timescales, :math:`m_i` over the factored roots. Each is divided by its root
    mean square over the tensor, so that no scale of loss or layer is seen. Then :math:`\tanh(t / x)` of 11 times x.

    Args:
        parameter: p, n elements.
        gradient: g.
        state: accumulators that have taken g in.
        step: t, counting from 1.

    Returns:
        (n, 39) like the parameter, without gradients.
    """
    return next(feature_parts(parameter, gradient, state, step, max(1, parameter.numel())))[1]


def feature_parts(
    parameter: Tensor, gradient: Tensor, state: State, step: int, elements: int
) -> Iterator[tuple[slice, Tensor]]:
    """The same features, some rows at a time, so that their memory does not grow with the tensor.

    Args:
        parameter: p, n elements.
        gradient: g.
        state: accumulators that have taken g in.
        step: t, counting from 1.
        elements: that a part may have, but for a row that has more.

    Yields:
        Where a part lies among the n elements, and its features (its length, 39).
    """
    height, width = state["rows"].shape[1], state["columns"].shape[1]
    several = max(1, elements // max(1, width))
    parts = [slice(first, min(first + several, height)) for first in range(0, height, several)] or [slice(0, 0)]
    first = [_unscaled(parameter, gradient, state, part) for part in parts[:1]]  # of one part, computed once
    squares = first[0].square().sum(1)
    for part in parts[1:]:
        squares += _unscaled(parameter, gradient, state, part).square().sum(1)
    scales = (squares / max(1, parameter.numel()) + NORM_EPSILON).rsqrt()[:, None]  # (28, 1)
    time = torch.tanh(step / scales.new_tensor(TIMESCALES))
    for part in parts:
        scaled = scales * (first.pop() if first else _unscaled(parameter, gradient, state, part))
        yield slice(part.start * width, part.stop * width), torch.cat([scaled.T, time.expand(scaled.shape[1], -1)], 1)


def _unscaled(parameter: Tensor, gradient: Tensor, state: State, part: slice) -> Tensor:
    """(28, n) features of the rows of a part, not divided by anything yet."""
    height = state["rows"].shape[1]
    g, p = (tensor.detach().reshape(height, -1)[part].reshape(-1) for tensor in (gradient, parameter))
    momenta = state["momenta"].reshape(len(MOMENTUM_DECAYS), height, -1)[:, part].flatten(1)
    second = state["second"].reshape(height, -1)[part].reshape(-1)
    mean = state["rows"].mean(1)[:, None, None]
    rows, columns = state["rows"][:, part, None], state["columns"][:, None, :]
    shape = (len(FACTORED_DECAYS), rows.shape[1], columns.shape[2])
    factored = (rows * columns / (mean + EPSILON)).flatten(1)
    inverse, factored_inverse = (second + EPSILON).rsqrt(), (factored + EPSILON).rsqrt()
    flat_rows, flat_columns = rows.expand(shape).flatten(1), columns.expand(shape).flatten(1)
    parts = [
        torch.stack((g, p, second, inverse)),
        momenta,
        momenta * inverse,
        g * factored_inverse,
        flat_rows,
        flat_columns,
        (flat_rows + EPSILON).rsqrt(),
        (flat_columns + EPSILON).rsqrt(),
        momenta * factored_inverse,
    ]
    return torch.cat(parts)
