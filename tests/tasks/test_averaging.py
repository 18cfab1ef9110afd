"""Averages of weights: what they hold of each kind of tensor."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nino.tasks.averaging import EMA, LAWA, Average


@pytest.mark.parametrize("make", [lambda net: EMA(net, 1, 0.9), lambda net: LAWA(net, 1, 3)], ids=["ema", "lawa"])
def test_counts_are_the_latest_and_statistics_are_averaged(make: object) -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    average: Average = make(net)  # type: ignore[operator]
    means = []
    for step in range(1, 5):
        net(torch.randn(8, 2, generator=torch.Generator().manual_seed(step)))
        means.append(net[1].running_mean.clone())  # type: ignore[operator]
        average.step(step)
    norm = average.model[1]  # type: ignore[index]
    assert norm.num_batches_tracked == 4
    lowest, highest = torch.stack(means).amin(0), torch.stack(means).amax(0)
    assert (lowest <= norm.running_mean).all() and (norm.running_mean <= highest).all()
    assert not torch.equal(norm.running_mean, means[-1])
