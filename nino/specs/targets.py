"""Targets: which metric a task is measured by, and the value that it must meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from nino.specs.base import Spec
from nino.specs.outside import Outside
from nino.specs.values import Allowed, Number


@dataclass(frozen=True)
class Metric:
    """A metric of this package.

    Args:
        better: ``higher`` or ``lower``.
        loss: which loss data are trained with that can be measured by it.
        kinds: of data that can be measured by it; empty for all.
        unit: of its values.
    """

    better: str
    loss: str = "cross_entropy"
    kinds: tuple[str, ...] = ()
    unit: str = ""

    def measures(self, kind: str, loss: str) -> bool:
        """Whether data of this kind and loss can be measured by it."""
        return loss == self.loss and (not self.kinds or kind in self.kinds)


METRICS = {
    "accuracy": Metric("higher", kinds=("vision", "table"), unit="%"),
    "mse": Metric("lower", loss="mse"),
    "perplexity": Metric("lower", kinds=("language",)),
}
"""Ours, by name; `nino.tasks.metrics` computes them."""


DATA_KINDS = {
    **dict.fromkeys(("cifar10", "cifar100", "digits", "fashion-mnist", "imagenet32", "images"), "vision"),
    **dict.fromkeys(("lm1b", "pydoc", "text", "wikitext-103"), "language"),
    "table": "table",
}
"""What kind of data each data set of this package is, known without reading it."""


@dataclass(frozen=True)
class TargetSpec(Spec):
    """The goal, fixed beforehand: reached at the first step at which its metric meets it.

    Args:
        metric: accuracy (higher is better), perplexity or mse, the mean squared error (lower is better), or a function
            of your own (FILE.py:NAME, MODULE:NAME, or registered by a package) [name].
        value: value to be met [percent for accuracy, else the metric's].
        split: data that it is checked on: test (the paper's vision tasks) or validation (language) [name].
        better: which values of a metric of your own are better, higher or lower; for no other [name].
    """

    metric: Annotated[str, Outside("metric", METRICS)]
    value: Number
    split: Annotated[str, Allowed(names=("test", "validation"))] = "test"
    better: Annotated[str, Allowed(names=("higher", "lower"))] | None = None

    @property
    def higher_is_better(self) -> bool:
        """Whether larger values of the metric are better."""
        return (METRICS[self.metric].better if self.metric in METRICS else self.better) == "higher"

    @property
    def title(self) -> str:
        """The metric in words: of one from outside this package, its name alone.

        >>> TargetSpec("my_metric.py:f1", 0.9, better="higher").title
        'f1'
        """
        return self.metric.rpartition(":")[2]

    @property
    def unit(self) -> str:
        """The metric's unit; empty where it has none."""
        return METRICS[self.metric].unit if self.metric in METRICS else ""

    def met(self, value: float) -> bool:
        """Whether ``value`` meets the target (NaN never does)."""
        return value >= self.value if self.higher_is_better else value <= self.value


def measurable(kind: str, loss: str) -> list[str]:
    """The metrics of this package by which data can be measured.

    >>> measurable("table", "mse")
    ['mse']
    """
    return [name for name, metric in METRICS.items() if metric.measures(kind, loss)]


def told_of(data: Mapping[str, Any]) -> tuple[str, str] | None:
    """Kind and loss of data of this package, as their spec tells them; None for data from outside.

    Args:
        data: a mapping that `nino.specs.DataSpec` allows.
    """
    if (kind := DATA_KINDS.get(data["name"])) is None:
        return None
    numbers = kind == "table" and data.get("options", {}).get("predict") == "number"
    return kind, "mse" if numbers else "cross_entropy"


def unmeasured(target: Mapping[str, Any], kind: str, loss: str) -> str | None:
    """Why data cannot be measured by a target's metric; None where they can, and for a metric from outside.

    Args:
        target: a mapping that `TargetSpec` allows.
        kind: of the data: vision, language or table.
        loss: that they are trained with.
    """
    metric = METRICS.get(target["metric"])
    if metric is None or metric.measures(kind, loss):
        return None
    what = "numbers to predict" if loss == "mse" else f"{kind} data"
    return f"measures no {what}; use {' or '.join(measurable(kind, loss)) or 'one of your own, FILE.py:NAME'}"
