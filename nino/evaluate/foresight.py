"""Foreseeing which images a network misses, from the scores it gave them when it last looked."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

# A rate of misses is foreseen no closer to 0 or 1 than this: margins have heavier tails than the normal distribution.
EDGE = 0.01
# How much of what is known of the noise a part's images replace.
LEARN = 0.1
# Images that the mean change of the scores is shrunk towards 0 by, and looks ago that an image never seen counts as.
SHRINK, NEVER = 3.0, 100.0


class Foresight:
    r"""The rates at which images will be missed.

    From one step to the next it is mostly whole classes that a network trades for others: the scores of class c change
    by about the same :math:`d_c` for all images. So the scores s of the last look are moved by the mean change of those
    images that have been looked at since, and image i of class y, last seen :math:`t_i` checks ago, is foreseen to be
    missed at a rate of

    .. math:: p_i = \Phi\left(-\frac{s_{iy} - \max_{c \ne y} s_{ic}}{\sigma \sqrt{t_i}}\right),

    where sigma is learned from how far the margins of images looked at lay from what was foreseen.

    Args:
        labels: (n,) int64, classes of the images, on the device to work on.
        classes: how many there are.

    Attributes:
        seen: (n,) bool, the images that have been looked at in this check.
    """

    def __init__(self, labels: Tensor, classes: int) -> None:
        """See the class."""
        self._labels = labels.unsqueeze(1)  # (n, 1)
        self._scores = torch.zeros(len(labels), classes, device=labels.device)  # (n, classes)
        self._age = torch.full((len(labels),), NEVER, device=labels.device)  # (n,), checks
        self._variance = torch.ones((), device=labels.device)  # of a margin, from one check to the next
        self.seen = torch.zeros(len(labels), dtype=torch.bool, device=labels.device)  # (n,), in this check
        self._moved = torch.zeros(classes, device=labels.device)  # d
        self._changes = torch.zeros_like(self._moved)  # their sum over the images seen

    def begin(self) -> None:
        """Begin a check: no image has been looked at."""
        self._scores = self._carried()
        self._age += 1
        self.seen.fill_(False)
        self._moved.zero_()
        self._changes.zero_()

    def rates(self, images: Tensor) -> Tensor:
        """The rates at which images will be missed.

        Args:
            images: (part,) int64, none of them seen in this check.

        Returns:
            (part,) float32, of ``EDGE`` .. 1 - ``EDGE``.
        """
        sigma = (self._variance * self._age[images]).sqrt()
        margins = self._margins(self._scores[images] + self._moved, images)
        return torch.special.ndtr(-margins / sigma).clamp(EDGE, 1 - EDGE)

    def take(self, images: Tensor, scores: Tensor) -> None:
        """Take in the scores of images.

        Args:
            images: (part,) int64, none of them seen in this check.
            scores: (part, classes) that they are given now.
        """
        scores = scores.float().nan_to_num(0.0, 0.0, 0.0).clamp(-1e6, 1e6)
        self.seen[images] = True
        self._changes += (scores - self._scores[images]).sum(0)
        self._moved = self._changes / (self.seen.sum() + SHRINK)
        foreseen = self._margins(self._scores[images] + self._moved, images)
        off = (self._margins(scores, images) - foreseen).square().mean() / self._age[images].mean()
        self._variance.lerp_(off.clamp(min=1e-12), LEARN)
        self._scores[images] = scores
        self._age[images] = 0

    def state_dict(self) -> dict[str, Tensor]:
        """What is known between checks."""
        return {"scores": self._carried(), "age": self._age, "variance": self._variance}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what ``state_dict`` gave, for the same images."""
        for own, name in ((self._scores, "scores"), (self._age, "age"), (self._variance, "variance")):
            own.copy_(state[name])
        self._moved.zero_()

    def _carried(self) -> Tensor:
        """(n, classes), the scores of the last looks, moved where that was before this check."""
        return torch.where(self.seen.unsqueeze(1), self._scores, self._scores + self._moved)

    def _margins(self, scores: Tensor, images: Tensor) -> Tensor:
        """(part,), how far the score of an image's own class lies above the best other one."""
        labels = self._labels[images]
        return (scores.gather(1, labels) - scores.scatter(1, labels, -torch.inf).amax(1, keepdim=True)).squeeze(1)
