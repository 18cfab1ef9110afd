"""Knowing that a target is not met without looking at every image.

The first hit is only exact where every step is checked, and on a CPU measuring 10,000 test images takes many times as
long as the step itself. Far from the target a sample is enough, near it the images that were missed lately.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nino.evaluate.bet import Bet
from nino.specs import TargetSpec
from nino.tasks import Task

# How much of an image's missing is remembered from check to check.
MEMORY = 0.75
# Scores closer than this share of their size may change places with the batch an image is computed in: such an image
# is not counted as missed, and the full evaluation decides.
TIE = 1e-4
CPU_PART = 128  # images
# Misses that every class is taken to have had, as many as foreseen, before the first is seen.
PRIOR = 5.0
# Hardness of an image that has never been missed.
FLOOR = 0.01


class TargetCheck:
    r"""Rules a target out without a look at every image, from a sample or by counting, hardest images first.

    A target accuracy allows :math:`m` misses among n images. How often each image was missed lately tells which ones
    to look at: a random sample of them may show that more than m are missed (`nino.evaluate.bet.Bet`; wrong less often
    than once in :math:`10^{10}` checks). Where that is not foreseen to be enough, or does not come out, misses are
    counted: those images first whose class is being missed more often than their past lets expect (from step to step
    it is whole classes that a network trades for others), until :math:`m + 1` are missed and the target is out of
    reach, whatever the others give. What is not ruled out is *not* decided: it takes ``task.evaluate``. So a hit found
    is never a false one, and the first one found is that of full evaluation at every step, but for the sample's chance
    of overlooking it. Perplexities are never ruled out: no block of text weighs enough.

    Args:
        task: whose target is checked on whose test images.
        sample: whether samples are taken; without them nothing is left to chance.

    Attributes:
        images: seen by all checks so far, to tell what was saved.
        hardness: (n,) float32, how often each image was missed lately, 1 before the first look; decides what a check
            costs, not what it says.
    """

    def __init__(self, task: Task, sample: bool = True) -> None:
        """See the class."""
        self.images = 0
        self._task = task
        self._vision = task.data.kind == "vision"
        self.hardness = torch.zeros(0)
        if self._vision:
            self._total = len(task.data.split("test"))
            self._allowed = self._total - needed(task.spec.target, self._total)
            self.hardness = torch.ones(self._total, device=task.device)
            self._labels = task.data.split("test").slice(0, self._total)[1]
            self._classes = task.data.outputs
            # on a CPU a small part costs an image no more; on a GPU each is a wait, and fewer can hardly hold enough
            self._part = CPU_PART if task.device.type == "cpu" else self._allowed + self._allowed // 4 + 64
            # not PyTorch's own generator: a check leaves the training's random numbers alone
            self._draws = torch.Generator(task.device).manual_seed(0) if sample and self._allowed >= 0 else None

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
        looks = _Looks(self, model)
        verdict = self._sample(looks) or self._count(looks)
        model.train(was_training)
        return verdict

    def _sample(self, looks: _Looks) -> bool:
        if self._draws is None:
            return False
        bet = Bet(self.hardness, self._allowed)
        if bet.draws > self._allowed:
            return False  # counting is foreseen to cost less
        part = min(self._part, max(CPU_PART, math.ceil(1.5 * bet.draws)))
        for _ in range(math.ceil(2 * bet.draws / part)):
            drawn = bet.draw(part, self._draws)
            looks.take(drawn[looks.miss[drawn].isnan()].unique())
            if bet.settle(drawn, looks.miss[drawn]):
                return True
        return False

    def _count(self, looks: _Looks) -> bool:
        while looks.seen < self._total:
            if looks.missed > self._allowed:
                return True
            if looks.seen - looks.missed >= self._total - self._allowed:
                return False  # so many are right, or too close to call, that the target may be met
            looks.take(looks.hardest())
        return looks.missed > self._allowed


class _Looks:
    """What one check has seen of the test images."""

    def __init__(self, check: TargetCheck, model: nn.Module) -> None:
        self._check, self._model = check, model
        self.miss = torch.full_like(check.hardness, torch.nan)  # of 0 and 1 where an image has been looked at
        self._found = torch.zeros(check._classes, device=check.hardness.device)
        self._foreseen = torch.zeros_like(self._found)
        self.seen = self.missed = 0

    def hardest(self) -> Tensor:
        """(part,) int64, images not seen yet."""
        surprise = ((self._found + PRIOR) / (self._foreseen + PRIOR)).sqrt()[self._check._labels]
        order = torch.where(self.miss.isnan(), (self._check.hardness + FLOOR) * surprise, -1.0)
        return order.topk(min(self._check._part, self._check._total - self.seen), sorted=False).indices

    def take(self, part: Tensor) -> None:
        """Look at images, (part,) int64, none of them seen yet."""
        if not len(part):
            return
        check = self._check
        miss = self._certainly_missed(part)
        self.miss[part] = miss
        self._found.index_add_(0, check._labels[part], miss)
        self._foreseen.index_add_(0, check._labels[part], check.hardness[part])
        check.hardness[part] = MEMORY * check.hardness[part] + (1 - MEMORY) * miss
        check.images += len(part)
        self.missed += int(miss.sum())
        self.seen += len(part)

    def _certainly_missed(self, part: Tensor) -> Tensor:
        """(part,) float32 of 0 and 1; scores that are not finite are misses: such an accuracy meets no target."""
        task = self._check._task
        inputs, targets = task.data.split("test").select(part)
        scores = task.outputs(self._model, inputs)  # (part, classes)
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
