"""The order of the training examples, a fixed function of the seed and the step."""

from __future__ import annotations

import torch
from torch import Tensor

from nino.seeding import derive


class BatchOrder:
    r"""A fresh permutation each epoch; the last, partial batch of an epoch is dropped.

    Epoch :math:`e` is a permutation drawn from ``derive(seed, "order")`` and e alone, so any step can be reached
    without going through those before it, and no global generator is touched.

    Args:
        size: number of training examples.
        batch_size: examples a step.
        seed: the run's seed.

    Raises:
        ValueError: where not a single batch fits.

    >>> order = BatchOrder(size=7, batch_size=3, seed=0)
    >>> order.steps_per_epoch
    2
    >>> sorted(torch.cat([order.indices(0), order.indices(1)]).unique().tolist()) == sorted(order.epoch(0)[:6].tolist())
    True
    """

    def __init__(self, size: int, batch_size: int, seed: int) -> None:
        """See the class."""
        if not 1 <= batch_size <= size:
            raise ValueError(
                f"`batch_size` is {batch_size}, but the training split has {size} examples: "
                "choose a batch size from 1 to that number"
            )
        self.size = size
        self.batch_size = batch_size
        self.steps_per_epoch = size // batch_size
        self._seed = derive(seed, "order")
        self._epoch = -1
        self._batches = torch.empty(0, batch_size, dtype=torch.long)

    def epoch(self, epoch: int) -> Tensor:
        """The permutation (size,) long of epoch ``epoch`` (0-based)."""
        generator = torch.Generator().manual_seed(derive(self._seed, f"epoch {epoch}"))
        return torch.randperm(self.size, generator=generator)

    def indices(self, step: int) -> Tensor:
        """The examples, (batch_size,) long, of step ``step`` (0-based)."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            used = self.steps_per_epoch * self.batch_size
            self._batches = self.epoch(epoch)[:used].view(self.steps_per_epoch, self.batch_size)
            self._epoch = epoch
        return self._batches[position]
