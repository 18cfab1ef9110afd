"""Laplacian positional encoding in O(nodes) a product, from blocks rather than from edges."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits
from torch import Tensor

from nino.graphs.core import Block
from nino.graphs.lanczos import DENSE, largest_eigenpairs

Array = NDArray[np.float64]
Range = tuple[int, int, int, int, bool]


class BlockAdjacency:
    r"""Adjacency of the undirected, unweighted graph without self-loops, as a product with vectors.

    The node axis is cut at every end of a dense block into atoms; a dense block joins atoms completely, so its part
    of the adjacency has rank one for each pair of atoms,

    .. math:: A = B Q B^\top - \mathrm{diag}(B \, \mathrm{diag}(Q)) + D,

    with B (N, atoms) the membership of nodes in atoms, Q (atoms, atoms) which atoms are joined, and D the pairs of
    diagonal blocks that no dense block joins. Each undirected pair counts once, however many blocks join it.

    Args:
        num_nodes: N.
        blocks: (source start, source stop, target start, target stop, dense) of each block.
    """

    def __init__(self, num_nodes: int, blocks: Sequence[Range]) -> None:
        """See the class."""
        cuts = {0, num_nodes}
        for s0, s1, t0, t1, dense in blocks:
            if dense:
                cuts.update((s0, s1, t0, t1))
        self._starts = np.array(sorted(cuts))[:-1]
        atoms = len(self._starts)
        self._atom = np.repeat(np.arange(atoms), np.diff(np.append(self._starts, num_nodes)))
        index = {start: i for i, start in enumerate(self._starts.tolist())}
        index[num_nodes] = atoms
        pairs: list[NDArray[np.int64]] = []
        steps: list[NDArray[np.int64]] = []
        for s0, s1, t0, t1, dense in blocks:
            if dense:
                source, target = np.arange(index[s0], index[s1]), np.arange(index[t0], index[t1])
                pairs.append(np.stack(np.broadcast_arrays(source[:, None], target), axis=-1).reshape(-1, 2))
            else:
                steps.append(np.stack([np.arange(s0, s1), np.arange(t0, t1)], axis=-1))
        self._quotient = _undirected(pairs, atoms)
        self._within = self._quotient.diagonal()[self._atom]
        diagonal = _undirected(steps, num_nodes).tocoo()
        apart = diagonal.row != diagonal.col
        row, col = diagonal.row[apart], diagonal.col[apart]
        if len(row):
            alone = np.asarray(self._quotient[self._atom[row], self._atom[col]]).reshape(-1) == 0
            row, col = row[alone], col[alone]
        self._diagonal = sparse.csr_matrix((np.ones(len(row)), (row, col)), shape=(num_nodes, num_nodes))

    def __matmul__(self, x: Array) -> Array:
        """Product with columns (N, n)."""
        joined = self._quotient @ np.add.reduceat(x, self._starts, axis=0)
        return joined[self._atom] - self._within[:, None] * x + self._diagonal @ x

    def twins(self) -> NDArray[np.int64]:
        """Classes of nodes with the same neighbours, (N,) numbers from 0: whole atoms, but for nodes of diagonals."""
        first = self._starts[self._atom]
        alone = self._diagonal.getnnz(axis=1) > 0
        return np.unique(np.where(alone, np.arange(len(first)) + len(first), first), return_inverse=True)[1]

    @property
    def cliques(self) -> NDArray[np.bool_]:
        """Whether a node is joined to the other nodes of its atom: (N,)."""
        return self._within > 0


def laplacian_encoding(num_nodes: int, blocks: Sequence[Block], k: int = 8) -> Float[Tensor, "nodes {k}"]:
    r"""Eigenvectors 1..k of the symmetric normalised Laplacian, by ascending eigenvalue (eigenvector 0 is dropped).

    .. math:: L = I - D^{-1/2} A D^{-1/2}

    of the undirected, unweighted graph without self-loops; a pair of nodes counts once even where several blocks
    join it. Nodes with the same neighbours are twins: an eigenvector is constant on them, or it sums to zero on each
    class of twins and vanishes elsewhere, with eigenvalue 1 (more, where twins are joined). The constant ones are
    sought with one unknown per class (see :func:`nino.graphs.lanczos.largest_eigenpairs`); where the graph has fewer
    than k + 1 of them below eigenvalue 1, as that of a shallow network has, zero-sum ones follow. All starting vectors
    are fixed, so that the result is the same to the bit every time; each eigenvector gets the sign that makes its first
    entry of at least half the largest magnitude positive. Within equal eigenvalues the basis is arbitrary: other
    kernels of LAPACK (another processor) may give another one.

    Args:
        num_nodes: N.
        blocks: the edges; weights and directions do not matter.
        k: number of eigenvectors.

    Returns:
        Float32 columns of norm 1, zero columns where the graph has fewer eigenvectors.

    Source:
        NiNo paper, section 3.2; Dwivedi et al., 2023 (benchmarking graph neural networks).
    """
    return torch.from_numpy(_encoding(num_nodes, block_ranges(blocks), k).copy())


def block_ranges(blocks: Sequence[Block]) -> tuple[Range, ...]:
    """Source, target and density of each block; one for consecutive blocks of a parameter that tile a rectangle."""
    ranges: list[Range] = []
    for _, group in groupby(blocks, key=lambda block: block.name):
        parts = [(b.source.start, b.source.stop, b.target.start, b.target.stop, b.kind == "dense") for b in group]
        ranges.extend([_rectangle(parts)] if _tiled(parts) else parts)
    return tuple(ranges)


def _rectangle(parts: list[Range]) -> Range:
    s0, s1, t0, t1, dense = zip(*parts, strict=True)
    return min(s0), max(s1), min(t0), max(t1), all(dense)


def _tiled(parts: list[Range]) -> bool:
    """Whether dense blocks follow each other row by row and fill the rectangle around them."""
    top, bottom, left, right, dense = _rectangle(parts)
    width, place = right - left, 0
    for s0, s1, t0, t1, _ in parts:
        if (s0 - top) * width + t0 - left != place or (s1 - s0 > 1 and t1 - t0 != width):
            return False
        place += (s1 - s0) * (t1 - t0)
    return dense and place == (bottom - top) * width


@lru_cache(maxsize=32)
def _encoding(num_nodes: int, blocks: tuple[Range, ...], k: int) -> NDArray[np.float32]:
    adjacency = BlockAdjacency(num_nodes, blocks)
    degree = adjacency @ np.ones((num_nodes, 1))
    scale = np.divide(1.0, np.sqrt(degree), out=np.zeros_like(degree), where=degree > 0)
    twins = adjacency.twins() if num_nodes > DENSE else np.arange(num_nodes)
    size = np.bincount(twins)
    spread = sparse.csr_matrix((1 / np.sqrt(size[twins]), (np.arange(num_nodes), twins)))  # orthonormal columns
    gather = spread.T.tocsr()

    def normalised(x: Array) -> Array:
        return gather @ (scale * (adjacency @ (scale * (spread @ x))))

    with threadpool_limits(1, "blas"):  # beside other programs the threads of small products wait for each other
        values, vectors = largest_eigenpairs(normalised, len(size), k + 1)
    vectors = spread @ vectors
    below = int((values > 1e-12).sum())
    if below <= k:
        others = _zero_sum(twins, ~adjacency.cliques, k + 1 - below)
        vectors = np.concatenate([vectors[:, :below], others, vectors[:, below:]], axis=1)
    encoding = np.zeros((num_nodes, k), dtype=np.float32)
    vectors = vectors[:, 1 : k + 1]
    encoding[:, : vectors.shape[1]] = _signed(vectors)
    return encoding


def _zero_sum(twins: NDArray[np.int64], apart: NDArray[np.bool_], count: int) -> Array:
    """Up to ``count`` orthonormal vectors that sum to zero on each class of twins and vanish where twins are joined."""
    size = np.bincount(twins)
    count = min(count, int((np.bincount(twins, weights=apart) - 1).clip(min=0).sum()))
    vectors = np.random.default_rng(1).standard_normal((len(twins), count)) * apart[:, None]
    for column in vectors.T:
        column -= (np.bincount(twins, weights=column) / size)[twins]
    return np.linalg.qr(vectors)[0]


def _signed(vectors: Array) -> Array:
    """Turn each column so that its first entry of at least half the largest magnitude is positive."""
    size = np.abs(vectors)
    first = np.argmax(size >= 0.5 * size.max(axis=0, initial=0), axis=0)
    lead = vectors[first, np.arange(vectors.shape[1])]
    return vectors * np.where(lead < 0, -1.0, 1.0)


def _undirected(pairs: list[NDArray[np.int64]], size: int) -> sparse.csr_matrix:
    """Symmetric 0/1 matrix of pairs (n, 2)."""
    ends = np.concatenate(pairs) if pairs else np.zeros((0, 2), dtype=np.int64)
    both = np.concatenate([ends, ends[:, ::-1]])
    matrix = sparse.csr_matrix((np.ones(len(both)), (both[:, 0], both[:, 1])), shape=(size, size))
    matrix.data[:] = 1.0
    return matrix
