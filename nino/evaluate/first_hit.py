"""Knowing that a target is not met without looking at every image.

The first hit is only exact where every step is checked, and on a CPU measuring 10,000 test images takes many times as
long as the step itself. Far from the target a look at the images that were missed lately is enough.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nino.specs import TargetSpec
from nino.tasks import Task

# How much of an image's missing is remembered from check to check.
MEMORY = 0.9
# Scores closer than this share of their size may change places with the batch an image is computed in: such an image
# is not counted as missed, and the full evaluation decides.
TIE = 1e-4
CPU_PART = 128  # images
# Misses that every class is taken to have had, as many as foreseen, before the first is seen.
PRIOR = 5.0
# Hardness of an image that has never been missed.
FLOOR = 0.01


class TargetCheck:
    r"""Rules a target out as soon as enough images of the test split are certainly missed, hardest images first.

    A target accuracy allows :math:`m` misses among n images. Images are taken in the order of how often they were
    missed lately, those first whose class is being missed more often than that lets expect (from step to step it is
    whole classes that a network trades for others); once :math:`m + 1` are missed the target is out of reach, whatever
    the others give. What is not ruled out is *not* decided: it takes ``task.evaluate``. So a first hit found with this
    check is the one that full evaluation at every step finds. Perplexities are never ruled out: no block of text weighs
    enough.

    Args:
        task: whose target is checked on whose test images.

    Attributes:
        images: seen by all checks so far, to tell what was saved.
        hardness: (n,) float32, how often each image was missed lately; decides what a check costs, not what it says.
    """

    def __init__(self, task: Task) -> None:
        """See the class."""
        self.images = 0
        self._task = task
        self._vision = task.data.kind == "vision"
        self.hardness = torch.zeros(0)
        if self._vision:
            self._total = len(task.data.split("test"))
            self._allowed = self._total - needed(task.spec.target, self._total)
            self.hardness = torch.zeros(self._total, device=task.device)
            self._labels = task.data.split("test").slice(0, self._total)[1]
            self._by_class = torch.zeros(task.data.outputs, device=task.device)
            # on a CPU a small part costs an image no more; on a GPU each is a wait, and fewer can hardly hold enough
            self._part = CPU_PART if task.device.type == "cpu" else self._allowed + self._allowed // 4 + 64

    @torch.no_grad()
    def rules_out(self, model: nn.Module) -> bool:
        """Whether the model certainly does not meet the target.

        Args:
            model: the network, on the task's device; left in the mode it came in.

        Returns:
            True where the target is out of reach; False where only the full evaluation can tell.
        """
        if not self._vision:
            return False
        was_training = model.training
        model.eval()
        verdict = self._count(model)
        model.train(was_training)
        return verdict

    def _count(self, model: nn.Module) -> bool:
        left = torch.ones_like(self.hardness, dtype=torch.bool)
        found, foreseen = torch.zeros_like(self._by_class), torch.zeros_like(self._by_class)
        missed = seen = 0
        while seen < self._total:
            surprise = ((found + PRIOR) / (foreseen + PRIOR)).sqrt()[self._labels]
            order = torch.where(left, (self.hardness + FLOOR) * surprise, -1.0)
            part = order.topk(min(self._part, self._total - seen), sorted=False).indices
            left[part] = False
            miss = self._certainly_missed(model, part)
            found.index_add_(0, self._labels[part], miss)
            foreseen.index_add_(0, self._labels[part], self.hardness[part])
            self.hardness[part] = MEMORY * self.hardness[part] + (1 - MEMORY) * miss
            missed += int(miss.sum())
            seen += len(part)
            self.images += len(part)
            if missed > self._allowed:
                return True
            if seen - missed >= self._total - self._allowed:
                return False  # so many are right, or too close to call, that the target may be met
        return False

    def _certainly_missed(self, model: nn.Module, part: Tensor) -> Tensor:
        """(n,) float32 of 0 and 1; scores that are not finite are misses, for such an accuracy meets no target."""
        inputs, targets = self._task.data.split("test").select(part)
        scores = self._task.outputs(model, inputs)
        best = scores.amax(1)
        behind = best - scores.gather(1, targets.unsqueeze(1)).squeeze(1)
        return (~(behind <= TIE * scores.abs().amax(1))).float()


def needed(target: TargetSpec, total: int) -> int:
    """The fewest right images of ``total`` whose accuracy, in percent as ``Task.evaluate`` computes it, meets a target.

    Returns:
        0 .. ``total``, or ``total + 1`` where no accuracy does.

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
