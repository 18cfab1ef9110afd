"""A network's parameters as a graph."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nino.graphs.core import Nodes
from nino.graphs.laplacian import laplacian_encoding
from nino.graphs.structure import GraphStructure
from nino.graphs.symmetry.verification import Verification, verify
from nino.graphs.words import keep_words


@dataclass(frozen=True, eq=False)
class NeuralGraph(GraphStructure):
    """A graph with what nowcasts ask of it: node positions, samples of its words, whether its symmetries hold.

    What it is made of, and its edges as a list, stand in `nino.graphs.structure.GraphStructure`.
    """

    def lpe(self, k: int = 8) -> Float[Tensor, "nodes {k}"]:
        """Laplacian positional encoding: eigenvectors 1..k of the normalised Laplacian.

        See :func:`nino.graphs.laplacian.laplacian_encoding`. Deterministic to the bit, computed once.

        Args:
            k: number of eigenvectors, default 8.

        Returns:
            Float32 on the CPU, of a shared graph as rank 0 computes it for all; columns padded with zeros where the
            graph has fewer eigenvectors.
        """
        key = f"lpe{k}"
        if key not in self._cache:
            blocks = self.whole.blocks
            self._cache[key] = self.ranks.from_first(lambda: laplacian_encoding(self.num_nodes, blocks, k))
        return self._cache[key]

    def sample_words(self, rows: Int[Tensor, " rows"]) -> tuple[NeuralGraph, Int[Tensor, " elements"]]:
        """The graph with only these rows of the word embedding.

        Args:
            rows: ascending row numbers.

        Returns:
            The smaller graph, and the elements of the flat parameter vector that it holds, in order.

        Raises:
            ValueError: if the graph has no word embedding, or the rows do not fit it.
        """
        words = self.word_nodes
        if words is None:
            raise ValueError("the graph has no word embedding to take rows of")
        rows = rows.to("cpu", torch.long)
        if not rows.numel() or rows[0] < 0 or rows[-1] >= words.size or bool((rows.diff() <= 0).any()):
            raise ValueError(
                f"`rows` must ascend within 0..{words.size - 1}, without repeats: sort and deduplicate them"
            )
        groups, blocks, parameters, elements = keep_words(self.groups, self.blocks, self.parameters, words, rows)
        smaller = replace(
            self,
            groups=groups,
            blocks=blocks,
            parameters=parameters,
            num_nodes=self.num_nodes - words.size + rows.numel(),
            word_nodes=Nodes(words.start, rows.numel()),
            word_ids=rows if self.word_ids is None else self.word_ids[rows],
            _cache={},
        )
        return smaller, elements

    def signature(self) -> str:
        """Hash of parameter names, shapes and topology: tells states, graphs and models of different kind apart."""
        text = repr((self.topology, [(p.name, p.shape) for p in self.parameters]))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def verify(self, model: nn.Module, example: Any, *, fix: bool = False) -> Verification[NeuralGraph]:
        """Renumber the neurons that the graph calls interchangeable, in float64, and compare the model's outputs.

        Args:
            model: the network that the graph is of; not changed.
            example: its inputs: a tensor, a tuple of positional or a dict of keyword inputs.
            fix: give back, in the result's ``graph``, one that fixes the groups whose renumbering changes the outputs.

        Returns:
            True where nothing changes; else it names the groups. See `nino.graphs.symmetry`.

        Raises:
            ValueError: if the graph is not that of the model.
        """
        return verify(self, model, example, fix=fix)
