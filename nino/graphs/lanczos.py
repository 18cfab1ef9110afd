"""Largest eigenpairs of a symmetric operator, repeatable to the bit and safe for equal eigenvalues."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Operators up to this size are decomposed whole.
DENSE = 400
#: Steps between looks at the residuals.
_CHECK = 5


def largest_eigenpairs(product: Callable[[Array], Array], size: int, count: int) -> tuple[Array, Array]:
    r"""Largest eigenvalues and their eigenvectors, by block Lanczos with full reorthogonalisation.

    The basis of the block Krylov space :math:`[V, AV, A^2V, \dots]` grows until the residual of every wanted Ritz pair
    is at rounding level. As the start block has as many columns as pairs are wanted, eigenvalues that occur
    several times are found as often as they occur, which a single start vector does not promise. The start is a
    fixed pseudo-random block, so that equal operators give equal bits.

    Args:
        product: the operator on columns, (size, n) -> (size, n); symmetric, of norm about 1.
        size: its dimension.
        count: wanted pairs; fewer come back where the dimension is less.

    Returns:
        Eigenvalues (count,), descending, and eigenvectors (size, count).

    >>> values, vectors = largest_eigenpairs(lambda x: x * np.arange(500.0)[:, None] / 500, 500, 2)
    >>> values.round(9).tolist()
    [0.998, 0.996]
    """
    count = min(count, size)
    if size <= DENSE:
        matrix = product(np.eye(size))
        values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
        return values[::-1][:count], vectors[:, ::-1][:, :count]
    block = np.linalg.qr(np.random.default_rng(0).standard_normal((size, count)))[0]
    basis, projected = block[:, :0], np.empty((0, 0))
    for step in range(1, size + 1):
        old = basis.shape[1]
        basis = np.concatenate([basis, block], axis=1)
        image = product(block)
        column = basis.T @ image
        projected = np.block([[projected, column[:old]], [column[:old].T, (column[old:] + column[old:].T) / 2]])
        image -= basis @ column
        image -= basis @ (basis.T @ image)  # once more: rounding left a trace of the basis
        block = _orthonormal(image)
        last = block.shape[1] == 0 or basis.shape[1] + block.shape[1] > size  # the Krylov space is exhausted
        if last or step % _CHECK == 0:
            values, rotations = np.linalg.eigh(projected)
            values, rotations = values[::-1][:count], rotations[:, ::-1][:, :count]
            if last or np.linalg.norm(image @ rotations[old:], axis=0).max() < 1e-11:
                break
    return values, basis @ rotations


def _orthonormal(block: Array) -> Array:
    """Orthonormal basis of the columns; directions at rounding level are dropped."""
    left, sizes, _ = np.linalg.svd(block, full_matrices=False)
    return left[:, sizes > 1e-12]
