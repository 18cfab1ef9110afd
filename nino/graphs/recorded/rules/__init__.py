"""What each ATen operation does to neurons, by the operation's name."""

from nino.graphs.recorded.rules import (
    concatenations,
    contractions,
    convolutions,
    elementwise,
    indexing,
    norms,
    reductions,
    views,
)
from nino.graphs.recorded.rules.base import Call, Rule, rule_for

__all__ = [
    "Call",
    "Rule",
    "concatenations",
    "contractions",
    "convolutions",
    "elementwise",
    "indexing",
    "norms",
    "reductions",
    "rule_for",
    "views",
]
