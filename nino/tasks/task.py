"""A task: data, architecture, recipe and target together, ready to be trained."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from platformdirs import user_cache_path
from torch import Tensor, nn
from torch.nn import functional as F

from nino.seeding import derive
from nino.specs import TaskSpec
from nino.tasks.data import Batch, Data
from nino.tasks.order import BatchOrder
from nino.tasks.registry import MODELS, load_data

METRICS = {"vision": "accuracy", "language": "perplexity"}
PRECISIONS = ("float32", "bfloat16")

# Elements of a layer's output held at once while measuring: what fits a CPU's cache, and what keeps a GPU busy.
_CPU_ELEMENTS = 2**21
_GPU_ELEMENTS = 2**28


class Task:
    """A task of the paper's Table 1: everything about a run but its seed and its optimizer.

    Attributes:
        spec: the task as the config describes it.
        data: the three splits, in memory.
        device: where models and batches are.

    Raises:
        ValueError: where data, model and target do not go together.
    """

    def __init__(self, spec: TaskSpec, data: Data, device: str | torch.device = "cpu") -> None:
        """Check that the parts fit; ``load_task`` makes a task from a spec alone."""
        self.device = torch.device(device)
        self.spec = spec
        self.data = data.to(self.device)
        if spec.target.metric != METRICS[data.kind]:
            raise ValueError(
                f"task {spec.id!r}: target.metric is {spec.target.metric!r}, but {spec.data.name!r} is {data.kind} "
                f"data: use {METRICS[data.kind]!r}"
            )
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
        """Number of parameters of the task's network, counted without allocating it."""
        with torch.device("meta"):
            model = self._fresh_model()
        return sum(p.numel() for p in model.parameters())

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
            model = self._fresh_model()
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
        inputs, targets = (tensor.chunk(self.spec.recipe.accumulate) for tensor in batch)
        return list(zip(inputs, targets, strict=True))

    def outputs(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Class scores (B, classes) of images, or next-token scores (B, length, vocabulary) of tokens; float32."""
        if self.spec.recipe.precision == "float32":
            outputs = model(inputs)
        else:
            with torch.autocast(self.device.type, dtype=torch.bfloat16):
                outputs = model(inputs)
        scores: Tensor = outputs if isinstance(outputs, Tensor) else outputs.logits
        return scores.float()

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy of a batch, in nats an image or a token; a scalar to be differentiated.

        Where no gradient is recorded, a batch is taken in the recipe's parts, as training takes it.
        """
        if self.spec.recipe.accumulate > 1 and not torch.is_grad_enabled():
            return torch.stack([self._loss(model, part) for part in self.parts(batch)]).mean()
        return self._loss(model, batch)

    def _loss(self, model: nn.Module, batch: Batch) -> Tensor:
        inputs, targets = batch
        return F.cross_entropy(self.outputs(model, inputs).flatten(0, -2), targets.flatten())

    @torch.no_grad()
    def evaluate(self, model: nn.Module, split: str) -> float:
        r"""The target's metric over a whole split, in evaluation mode.

        Accuracy is :math:`100 \cdot \text{correct} / n`; perplexity is :math:`\exp` of the mean cross-entropy over all
        predicted tokens. The model is left in the mode it came in.

        Args:
            model: the network, on the task's device.
            split: ``validation`` or ``test``.

        Returns:
            Percent, or perplexity; NaN or infinity where the network's outputs are NaN or infinite.
        """
        data = self.data.split(split)
        was_training = model.training
        model.eval()
        chunk = self._chunk()
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        count = 0
        for start in range(0, len(data), chunk):
            inputs, targets = data.slice(start, start + chunk)
            scores = self.outputs(model, inputs).flatten(0, -2)
            if self.data.kind == "vision":
                total += _correct(scores, targets)
            else:
                total += F.cross_entropy(scores, targets.flatten(), reduction="sum")
            count += targets.numel()
        model.train(was_training)
        mean = float(total) / count
        if self.data.kind == "vision":
            return 100.0 * mean
        return math.exp(mean) if mean < 700 else math.inf if mean == mean else math.nan

    def _fresh_model(self) -> nn.Module:
        spec = self.spec.model
        if spec.name not in MODELS:
            raise ValueError(f"model.name is {spec.name!r}; registered are {', '.join(sorted(MODELS))}")
        return MODELS[spec.name](self.data, spec.options)

    def _chunk(self) -> int:
        """The number of examples that are measured at once."""
        budget = _CPU_ELEMENTS if self.device.type == "cpu" else _GPU_ELEMENTS
        # a vision network's first layer is taken to have 16 outputs a pixel; a language model's scores are the most
        an_example = 16 * math.prod(self.data.shape[1:]) if self.data.kind == "vision" else self.data.outputs
        if self.data.kind == "language":
            an_example *= self.data.shape[0]
        return max(1, budget // an_example)


def _correct(scores: Tensor, targets: Tensor) -> Tensor:
    """How many rows of (n, classes) have their largest finite score at the target; a NaN in a row makes it NaN."""
    correct = (scores.argmax(1) == targets).sum().to(torch.float64)
    return correct + 0.0 * scores.sum()


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
