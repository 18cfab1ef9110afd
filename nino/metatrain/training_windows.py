"""Windows of a trajectory, the examples on which a nowcaster is trained.

Shape legend: W windows, P parameters, c context, H largest horizon, N nodes, L = W - 1 + c + H states.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nino.graphs import NeuralGraph

MOVED = ("values", "mask", "positions")  # tensors of windows, which go to the device that computes


@dataclass(frozen=True)
class Windows:
    """W windows of one trajectory, each one stride after the one before, and the graph that they share.

    Args:
        task: name of the task.
        trajectory: number of the trajectory.
        start: stored state with which the first window begins.
        graph: of the network; with fewer rows of the word embedding where these were sampled.
        values: (P, L) float32, the states that the windows cover, zero past the end of the trajectory.
        mask: (W, H) bool, True where a target exists.
        positions: (N, 8) float32, the graph's LPE, some columns negated.
        context: c.
        share: weight of these windows in their batch's loss.
    """

    task: str
    trajectory: int
    start: int
    graph: NeuralGraph
    values: Tensor
    mask: Tensor
    positions: Tensor
    context: int
    share: float = 1.0

    @property
    def _windows(self) -> Tensor:
        """(W, P, c + H): a view, the windows overlap in memory."""
        return self.values.unfold(1, self.context + self.mask.shape[1], 1).transpose(0, 1)

    @property
    def states(self) -> Tensor:
        """(W, P, c): what the nowcaster reads."""
        return self._windows[..., : self.context]

    @property
    def targets(self) -> Tensor:
        """(W, P, H): the states that follow, zero where masked."""
        return self._windows[..., self.context :]

    @property
    def lpe(self) -> Tensor:
        """(W, N, 8): node positions, the same for all windows."""
        return self.positions.expand(len(self.mask), -1, -1)

    def to(self, device: torch.device) -> Windows:
        """The same on a device."""
        moved = {name: getattr(self, name).to(device, non_blocking=True) for name in MOVED}
        return replace(self, **moved)

    def pin(self) -> Windows:
        """The same in page-locked memory, from where a GPU fetches it while it computes."""
        pinned = {name: getattr(self, name).pin_memory() for name in MOVED}
        return replace(self, **pinned)
