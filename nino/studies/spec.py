"""What studies are told: small frozen dataclasses, one to one with the entries of ``studies`` in the config."""

from __future__ import annotations

from dataclasses import dataclass

from nino.specs import Spec


@dataclass(frozen=True)
class PermutationSpec(Spec):
    """The permutation study (figure 2d,e of the paper).

    Args:
        permutations: how many are drawn.
        width: d of the attention layer.
        heads: H of it, divides ``width``.
        nowcaster: file or known name of the NiNo whose graph network embeds; None takes a random one.
        hidden: size of a random one.
        seed: of layer, permutations, folds and random weights.
    """

    permutations: int = 1000
    width: int = 12
    heads: int = 4
    nowcaster: str | None = None
    hidden: int = 128
    seed: int = 0


@dataclass(frozen=True)
class OverheadSpec(Spec):
    """The overhead table: what nowcasts cost a training.

    Args:
        models: keys of ``nino.studies.overhead.MODELS``.
        methods: rows a model, keys of ``nino.studies.overhead.METHODS``: ``adam``, ``wnn+``, ``nino``,
            approximations of it, and ``l2o``.
        hidden: size of the (random) nowcasters; what they cost does not depend on their weights.
        nowcaster: file or known name of a NiNo to take in place of random ones: how far an approximated nowcast is from
            the exact one does depend on weights, and is measured with these alone.
        batch: examples a step.
        tokens: length of an example of a language model.
        accumulate: parts that a batch is taken in, one after the other, as in a recipe; divides ``batch``.
        period: steps between nowcasts, for the share of training.
        precision: of the base steps, ``float32`` or ``bfloat16``.
    """

    models: tuple[str, ...]
    methods: tuple[str, ...]
    hidden: int = 128
    nowcaster: str | None = None
    batch: int = 8
    tokens: int = 128
    accumulate: int = 1
    period: int = 1000
    precision: str = "float32"
