"""The exact first hit of a target without a full evaluation at every step.

The first hit is exact only if every step is checked, and on a CPU evaluating 10,000 test images takes many times as
long as the step itself. Far from the target a sample of the images is enough; near it, those likely to be missed.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nino.evaluate.target.miss_forecast import MissForecast
from nino.evaluate.target.sequential_test import SequentialTest
from nino.specs import TargetSpec
from nino.tasks import Task

# Scores that differ by less than this share of their size may change their order with the batch that an image is
# evaluated in. Such an image does not count as missed, and the full evaluation decides.
TIE = 1e-4
# Share of all images that are evaluated at a time, and the least number of them. On a GPU every part costs a wait.
CPU_PART, GPU_PART = 1 / 40, 1 / 8
SMALLEST_PART = 32


class TargetCheck:
    r"""Rules out that a network meets its target, mostly from a small part of the test images.

    A target accuracy on n images allows :math:`m` of them to be missed. A check evaluates images part by part, with
    a forecast of those that are missed (`MissForecast`). As long as the forecast says that the target is out of reach,
    parts are drawn at random and tested (`SequentialTest`, which rules out a target that is met with probability at
    most :math:`10^{-6}`); otherwise the images most likely to be missed come next. In both cases misses are counted:
    with :math:`m + 1` of them the target is certainly not met.

    A check never says that the target *is* met. If it cannot rule the target out, ``Task.evaluate`` decides. So no hit
    is false, and the first one is that of a full evaluation at every step, up to the test's error probability.
    Targets of other metrics are never ruled out: no single block of text changes a perplexity enough, and the value of
    a metric from outside is unknown until all examples have been evaluated.

    Args:
        task: whose target is checked on its test images.
        sample: whether to use the sequential test; without it, nothing is left to chance.

    Attributes:
        images: number of images that all checks so far have evaluated.
    """

    def __init__(self, task: Task, sample: bool = True) -> None:
        """See the class."""
        self.images = 0
        self._task = task
        self._counts = task.spec.target.metric == "accuracy"
        if self._counts:
            total = len(task.data.split("test"))
            self._allowed = total - needed(task.spec.target, total)
            self._forecast = MissForecast(task.data.split("test").slice(0, total)[1], task.data.outputs)
            self._part = max(SMALLEST_PART, int(total * (CPU_PART if task.device.type == "cpu" else GPU_PART)))
            # a generator of its own: a check does not change the random numbers of the training
            self._generator = torch.Generator(task.device).manual_seed(0) if sample else None

    @torch.no_grad()
    def rules_out(self, model: nn.Module) -> bool:
        """Whether the model certainly does not meet the target.

        Args:
            model: the network, on the task's device; its training mode is restored.

        Returns:
            True if the target is out of reach; False if only a full evaluation can tell.
        """
        if not self._counts:
            return False
        was_training = model.training
        model.eval()
        verdict = self._check(model)
        model.train(was_training)
        return verdict

    def state_dict(self) -> dict[str, Tensor]:
        """What earlier checks learned; it decides what a check costs, not what it says."""
        return self._forecast.state_dict() if self._counts else {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` returned."""
        if self._counts:
            self._forecast.load_state_dict(state)

    def _check(self, model: nn.Module) -> bool:
        test, forecast = SequentialTest(), self._forecast
        forecast.begin()
        allowed, missed = self._allowed, 0
        while missed <= allowed:
            unseen = (~forecast.seen).nonzero().squeeze(1)
            if len(unseen) <= allowed - missed:
                return False  # so many are right, or too close to call, that the target may be met
            rates = forecast.rates(unseen)
            if self._generator is not None and test.set_forecast(rates, allowed - missed):
                drawn = test.draw(self._part, self._generator)
                images, inverse = unseen[drawn].unique(return_inverse=True)
                misses = self._evaluate(model, images)
                if test.update(drawn, misses[inverse]):
                    return True
            else:
                likeliest = rates.topk(min(self._part, len(unseen)), sorted=False).indices
                misses = self._evaluate(model, unseen[likeliest])
            missed += int(misses.sum())
        return True

    def _evaluate(self, model: nn.Module, images: Tensor) -> Tensor:
        """(part,) float32, 1 for a miss, else 0; an image with NaN scores is missed (a full evaluation gives NaN)."""
        inputs, targets = self._task.data.split("test").select(images)
        scores = self._task.outputs(model, inputs)  # (part, classes)
        self._forecast.update(images, scores)
        self.images += len(images)
        behind = scores.amax(1) - scores.gather(1, targets.unsqueeze(1)).squeeze(1)
        return (~(behind <= TIE * scores.abs().amax(1))).float()


def needed(target: TargetSpec, total: int) -> int:
    """The smallest number of right images whose accuracy meets a target.

    Args:
        target: a target accuracy.
        total: number of images.

    Returns:
        0 to ``total``, with the accuracy in percent as ``Task.evaluate`` computes it; ``total + 1`` if none meets it.

    >>> needed(TargetSpec("accuracy", 89.5), 10000)
    8950
    >>> needed(TargetSpec("accuracy", 100.5), 10)
    11
    """
    low, high = 0, total + 1
    while low < high:
        middle = (low + high) // 2
        if target.met(100.0 * (middle / total)):
            high = middle
        else:
            low = middle + 1
    return low
