"""Knowing that a target is not met without looking at every image.

The first hit is only exact where every step is checked, and on a CPU measuring 10,000 test images takes many times as
long as the step itself. Far from the target a sample is enough, near it the images that may be missed.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nino.evaluate.bet import Bet
from nino.evaluate.foresight import Foresight
from nino.specs import TargetSpec
from nino.tasks import Task

# Scores closer than this share of their size may change places with the batch an image is computed in: such an image
# is not counted as missed, and the full evaluation decides.
TIE = 1e-4
# The share of all images that a part is, but enough that it is not mostly overhead; on a GPU each part is a wait.
PARTS = {"cpu": 1 / 40, "cuda": 1 / 8}
FEWEST = 32


class TargetCheck:
    r"""Rules a target out without a look at every image, from samples and by counting.

    A target accuracy allows :math:`m` misses among n images. Images are looked at in parts, those first of which the
    scores of earlier checks leave open whether they are missed (`nino.evaluate.foresight.Foresight`). What a part shows
    is counted, and is a bet against the target (`nino.evaluate.bet.Bet`; it rules out a target that is met with a
    probability of at most :math:`10^{-6}`). Where nothing speaks against the target, the likeliest misses are looked
    at: once :math:`m + 1` are missed the target is out of reach, whatever the others give. What is not ruled out is
    *not* decided: it takes ``task.evaluate``. So a hit found is never a false one, and the first one found is that of
    full evaluation at every step, but for the bet's chance of overlooking it. Perplexities are never ruled out: no
    block of text weighs enough.

    Args:
        task: whose target is checked on whose test images.
        sample: whether bets are made; without them nothing is left to chance.

    Attributes:
        images: seen by all checks so far, to tell what was saved.
    """

    def __init__(self, task: Task, sample: bool = True) -> None:
        """See the class."""
        self.images = 0
        self._task = task
        self._vision = task.data.kind == "vision"
        if self._vision:
            total = len(task.data.split("test"))
            self._allowed = total - needed(task.spec.target, total)
            self._known = Foresight(task.data.split("test").slice(0, total)[1], task.data.outputs)
            self._part = max(FEWEST, int(total * PARTS.get(task.device.type, PARTS["cuda"])))
            # not PyTorch's own generator: a check leaves the training's random numbers alone
            self._draws = torch.Generator(task.device).manual_seed(0) if sample else None

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
        verdict = self._check(model)
        model.train(was_training)
        return verdict

    def state_dict(self) -> dict[str, Tensor]:
        """What earlier checks showed: decides what a check costs, not what it says."""
        return self._known.state_dict() if self._vision else {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what ``state_dict`` gave."""
        if self._vision:
            self._known.load_state_dict(state)

    def _check(self, model: nn.Module) -> bool:
        bet, known = Bet(), self._known
        known.begin()
        allowed, missed = self._allowed, 0
        while missed <= allowed:
            others = (~known.seen).nonzero().squeeze(1)
            if len(others) <= allowed - missed:
                return False  # so many are right, or too close to call, that the target may be met
            rates = known.rates(others)
            if self._draws is not None and bet.foresee(rates, allowed - missed):
                drawn = bet.draw(self._part, self._draws)
                images, places = others[drawn].unique(return_inverse=True)
                misses = self._look(model, images)
                if bet.settle(drawn, misses[places]):
                    return True
            else:
                likeliest = rates.topk(min(self._part, len(others)), sorted=False).indices
                misses = self._look(model, others[likeliest])
            missed += int(misses.sum())
        return True

    def _look(self, model: nn.Module, images: Tensor) -> Tensor:
        """(part,) float32 of 0 and 1, misses; scores that are not finite are: such an accuracy meets no target."""
        inputs, targets = self._task.data.split("test").select(images)
        scores = self._task.outputs(model, inputs)  # (part, classes)
        self._known.take(images, scores)
        self.images += len(images)
        behind = scores.amax(1) - scores.gather(1, targets.unsqueeze(1)).squeeze(1)
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
