"""A forecast of the images that a network misses, from the scores that it gave them in earlier checks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

# Forecast rates stay this far from 0 and 1: margins have heavier tails than the normal distribution.
SMALLEST_RATE = 0.01
# Weight of a new part's images in the running estimate of the margins' variance.
VARIANCE_WEIGHT = 0.1
# The mean change of scores is shrunk towards 0 as by this many images without a change.
PRIOR_IMAGES = 3.0
# Age, in checks, of the scores of images that have never been evaluated.
NEVER = 100.0


class MissForecast:
    r"""Forecasts the probability with which each image is missed.

    From one step to the next a network mostly trades whole classes for others: the scores of class c change by about
    the same :math:`d_c` on all images. The forecast therefore moves the last known scores s by the mean change of the
    images that have been evaluated in this check. An image i of class y, last evaluated :math:`t_i` checks ago, is
    missed with probability

    .. math:: p_i = \Phi\left(-\frac{s_{iy} - \max_{c \ne y} s_{ic}}{\sigma \sqrt{t_i}}\right),

    where :math:`\sigma^2`, the variance of a margin's change from one check to the next, is estimated from the errors
    of earlier forecasts.

    Args:
        labels: (images,) int64, classes of the images, on the device to work on.
        classes: number of classes.

    Attributes:
        seen: (images,) bool, the images that have been evaluated in this check.
    """

    def __init__(self, labels: Tensor, classes: int) -> None:
        """See the class."""
        self._labels = labels.unsqueeze(1)  # (images, 1)
        self._scores = torch.zeros(len(labels), classes, device=labels.device)  # (images, classes)
        self._age = torch.full((len(labels),), NEVER, device=labels.device)  # (images,), checks
        self._variance = torch.ones((), device=labels.device)  # of a margin, from one check to the next
        self.seen = torch.zeros(len(labels), dtype=torch.bool, device=labels.device)  # (images,), in this check
        self._moved = torch.zeros(classes, device=labels.device)  # d
        self._changes = torch.zeros_like(self._moved)  # summed over the images seen

    def begin(self) -> None:
        """Begin a check, in which no image has been evaluated yet."""
        self._scores = self._moved_scores()
        self._age += 1
        self.seen.fill_(False)
        self._moved.zero_()
        self._changes.zero_()

    def rates(self, images: Tensor) -> Tensor:
        """Forecast the probabilities with which images are missed.

        Args:
            images: (part,) int64, none of them evaluated in this check.

        Returns:
            (part,) float32, from ``SMALLEST_RATE`` to 1 - ``SMALLEST_RATE``.
        """
        sigma = (self._variance * self._age[images]).sqrt()
        margins = self._margins(self._scores[images] + self._moved, images)
        return torch.special.ndtr(-margins / sigma).clamp(SMALLEST_RATE, 1 - SMALLEST_RATE)

    def update(self, images: Tensor, scores: Tensor) -> None:
        """Learn from the scores that images have now.

        Args:
            images: (part,) int64, none of them evaluated in this check before.
            scores: (part, classes), their scores.
        """
        scores = scores.float().nan_to_num(0.0, 0.0, 0.0).clamp(-1e6, 1e6)
        self.seen[images] = True
        self._changes += (scores - self._scores[images]).sum(0)
        self._moved = self._changes / (self.seen.sum() + PRIOR_IMAGES)
        forecast = self._margins(self._scores[images] + self._moved, images)
        error = (self._margins(scores, images) - forecast).square().mean() / self._age[images].mean()
        self._variance.lerp_(error.clamp(min=1e-12), VARIANCE_WEIGHT)
        self._scores[images] = scores
        self._age[images] = 0

    def state_dict(self) -> dict[str, Tensor]:
        """What the forecast has learned, for `load_state_dict` between two checks."""
        return {"scores": self._moved_scores(), "age": self._age, "variance": self._variance}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` returned, for the same images."""
        for tensor, name in ((self._scores, "scores"), (self._age, "age"), (self._variance, "variance")):
            tensor.copy_(state[name])
        self._moved.zero_()

    def _moved_scores(self) -> Tensor:
        """(images, classes), the last known scores; those from before this check are moved by d."""
        return torch.where(self.seen.unsqueeze(1), self._scores, self._scores + self._moved)

    def _margins(self, scores: Tensor, images: Tensor) -> Tensor:
        """(part,), score of each image's own class minus the best other score."""
        labels = self._labels[images]
        return (scores.gather(1, labels) - scores.scatter(1, labels, -torch.inf).amax(1, keepdim=True)).squeeze(1)
