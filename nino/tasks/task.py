"""A task: data, architecture, recipe and target together, ready to be trained."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from platformdirs import user_cache_path
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from nino.seeding import derive
from nino.specs import RecipeSpec, TaskSpec
from nino.specs.targets import unmeasured
from nino.tasks.calls import call, predictions
from nino.tasks.data import Batch, Data, Inputs
from nino.tasks.metrics import Measure, Parts, metric, shaped
from nino.tasks.networks import make_model, sketch_model
from nino.tasks.order import BatchOrder
from nino.tasks.registry import load_data

PRECISIONS = ("float32", "bfloat16")

# Elements of a layer's output held at once while measuring: what fits a CPU's cache, and what keeps a GPU busy.
_CPU_ELEMENTS = 2**21
_GPU_ELEMENTS = 2**28


class Task:
    """A task, such as those of the paper's Table 1: everything about a run but its seed and its method.

    Attributes:
        spec: the task as the config describes it.
        data: the three splits, in memory or memory-mapped.
        device: where models and batches are.

    Raises:
        ValueError: where data, model and target do not go together.
    """

    def __init__(self, spec: TaskSpec, data: Data, device: str | torch.device = "cpu") -> None:
        """Check that the parts fit; ``load_task`` makes a task from a spec alone."""
        self.device = torch.device(device)
        self.spec = spec
        self.data = data.to(self.device)
        if problem := unmeasured(spec.target.to_dict(), data.kind, data.loss):
            raise ValueError(f"task {spec.id!r}: target.metric (={spec.target.metric}) {problem}")
        recipe = spec.recipe
        if recipe.batch_size % recipe.accumulate:
            raise ValueError(
                f"task {spec.id!r}: recipe.batch_size (={recipe.batch_size}) must be a multiple of recipe.accumulate "
                f"(={recipe.accumulate}): the parts of a batch are of equal size"
            )
        if recipe.precision not in PRECISIONS:
            raise ValueError(
                f"task {spec.id!r}: recipe.precision is {recipe.precision!r}; allowed are {', '.join(PRECISIONS)}"
            )
        self._order = self.order(0)

    def with_recipe(self, recipe: RecipeSpec) -> Task:
        """The same task, sharing its data, with another recipe; itself where the recipe is its own."""
        if recipe == self.spec.recipe:
            return self
        other = copy.copy(self)
        other.spec = replace(self.spec, recipe=recipe)
        other._order = other.order(0)
        return other

    @property
    def data_checksum(self) -> str:
        """SHA-256 that identifies the data, the splits included."""
        return self.data.checksum

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in the training split."""
        return self._order.steps_per_epoch

    def describe(self) -> dict[str, Any]:
        """The task in plain JSON values, as manifests and dataset attributes record it."""
        sizes = {name: len(self.data.split(name)) for name in ("train", "validation", "test")}
        return {
            "task": self.spec.to_dict(),
            "data": {
                "checksum": self.data.checksum,
                "examples": sizes,
                "shape": list(self.data.shape),
                "outputs": self.data.outputs,
                **({"kind": "table", "loss": self.data.loss} if self.data.kind == "table" else {}),
                **self.data.facts,
            },
            "parameters": self.num_parameters(),
            "steps_per_epoch": self.steps_per_epoch,
        }

    def num_parameters(self) -> int:
        """Number of parameters of the task's network, counted without allocating it where it can be sketched."""
        return sum(p.numel() for p in sketch_model(self.spec.model, self.data).parameters())

    def build_model(self, seed: int) -> nn.Module:
        """A freshly initialised network in training mode, on the task's device.

        Initialised on the CPU from ``derive(seed, "init")`` alone, so the same on every device; the global
        generators are left as they were.

        Args:
            seed: the run's seed.

        Returns:
            The network, float32.
        """
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derive(seed, "init"))
            model = make_model(self.spec.model, self.data)
        return model.to(self.device).train()

    def order(self, seed: int) -> BatchOrder:
        """The order of training examples for a seed."""
        return BatchOrder(len(self.data.train), self.spec.recipe.batch_size, seed)

    def batches(self, seed: int, start_step: int = 0) -> Iterator[Batch]:
        """An endless sequence of training batches, the same for every method with the same seed.

        Args:
            seed: the run's seed; the order is ``derive(seed, "order")``'s.
            start_step: step (0-based) whose batch comes first; earlier ones are not computed.

        Yields:
            Inputs and targets on the task's device.
        """
        order = self.order(seed)
        step = start_step
        while True:
            yield self.data.train.select(order.indices(step))
            step += 1

    def parts(self, batch: Batch) -> list[Batch]:
        """A batch in the recipe's ``accumulate`` parts of equal size: the mean of their losses is the batch's."""
        size = len(batch[1]) // self.spec.recipe.accumulate
        return [
            tree_map(lambda tensor, start=start: tensor[start : start + size], batch)
            for start in range(0, len(batch[1]), size)
        ]

    def outputs(self, model: nn.Module, inputs: Inputs) -> Tensor:
        """What a model says, in float32.

        Args:
            model: called with a tensor, with a tuple's tensors by position or with a mapping's by name.
            inputs: of a batch.

        Returns:
            Class scores (B, classes), next-token scores (B, length, vocabulary), or predicted numbers (B, outputs).
        """
        if self.spec.recipe.precision == "float32":
            return predictions(call(model, inputs)).float()
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            return predictions(call(model, inputs)).float()

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean loss of a batch, a scalar to be differentiated: what the data's ``loss`` says.

        Cross-entropy is in nats a class or a token, ``mse`` the mean square over all numbers to predict. Where no
        gradient is recorded, a batch is taken in the recipe's parts, as training takes it.
        """
        if self.spec.recipe.accumulate > 1 and not torch.is_grad_enabled():
            return torch.stack([self._loss(model, part) for part in self.parts(batch)]).mean()
        return self._loss(model, batch)

    def _loss(self, model: nn.Module, batch: Batch) -> Tensor:
        inputs, targets = batch
        outputs = self.outputs(model, inputs)
        if self.data.loss == "mse":
            return F.mse_loss(shaped(outputs, targets), targets)
        return F.cross_entropy(outputs.flatten(0, -2), targets.flatten())

    @cached_property
    def metric(self) -> Measure:
        """What computes the target's metric; asking for one from outside this package runs its file."""
        return metric(self.spec.target)

    @torch.no_grad()
    def evaluate(self, model: nn.Module, split: str) -> float:
        """The target's metric over a whole split, in evaluation mode; see `nino.tasks.metrics`.

        The model is left in the mode it came in.

        Args:
            model: the network, on the task's device.
            split: ``validation`` or ``test``.

        Returns:
            Percent for accuracy, else the metric's value; NaN where the network's outputs are NaN.
        """
        data, chunk = self.data.split(split), self._chunk()

        def parts() -> Parts:
            for start in range(0, len(data), chunk):
                inputs, targets = data.slice(start, start + chunk)
                yield self.outputs(model, inputs), targets

        was_training = model.training
        model.eval()
        value = self.metric(parts())
        model.train(was_training)
        return value

    def _chunk(self) -> int:
        """The number of examples that are measured at once."""
        budget = _CPU_ELEMENTS if self.device.type == "cpu" else _GPU_ELEMENTS
        # a network's first layer is taken to have 16 outputs a pixel or number; a language model's scores are the most
        an_example = 16 * math.prod(self.data.shape[1:])
        if self.data.kind == "language":
            an_example = self.data.outputs * self.data.shape[0]
        return max(1, budget // an_example)


def default_data_dir() -> Path:
    """Where data sets are kept unless a folder is given: the user's cache."""
    return user_cache_path("nino") / "data"


def load_task(
    spec: TaskSpec, data_dir: Path | None = None, *, download: bool = False, device: str | torch.device = "cpu"
) -> Task:
    """Read a task's data and put the task together.

    Args:
        spec: the task.
        data_dir: where downloaded and decoded data are kept; None takes ``default_data_dir()``.
        download: whether data that is not there may be fetched.
        device: where models and batches are to be.

    Returns:
        The task.

    Raises:
        ValueError: for an unknown data set, source, model or option.
        FileNotFoundError: where data is missing; says which file belongs where.

    >>> from nino.specs import *
    >>> spec = TaskSpec(
    ...     "digits-4", DataSpec("digits"), ModelSpec("convnet", {"channels": [4, 4]}),
    ...     RecipeSpec("adam", 0.01, 100, 128), TargetSpec("accuracy", 90.0), EvaluationSpec(1, 10),
    ... )
    >>> task = load_task(spec)
    >>> images, labels = next(task.batches(seed=0))
    >>> tuple(images.shape), tuple(labels.shape)
    ((128, 1, 8, 8), (128,))
    """
    return Task(spec, load_data(spec.data, data_dir or default_data_dir(), download), device)
