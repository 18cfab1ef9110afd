"""Messages along an edge list, averaged at their targets, by PyTorch Geometric."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor
from torch_geometric.nn import MessagePassing


class Messenger(Protocol):
    """What says something along an edge."""

    def message(self, x_i: Tensor, x_j: Tensor, e: Tensor) -> Tensor:
        """A message (E, d) from the states (E, d) of targets ``x_i``, sources ``x_j`` and edges ``e``."""


class MeanOfMessages(MessagePassing):
    r"""The mean of the incoming messages of every node, :math:`\frac{1}{|N(t)|} \sum_{s \in N(t)} m_{st}`.

    Shapes:
        - input: a messenger, nodes (N, d), edge_index (2, E) sources above targets, edges (E, d)
        - output: (N, d), zero where no edge ends
    """

    def __init__(self) -> None:
        """No parameters: they are the messenger's."""
        super().__init__(aggr="mean")

    def forward(self, messenger: Messenger, x: Tensor, edge_index: Tensor, e: Tensor) -> Tensor:
        """Send a message along every edge and average those that arrive."""
        return self.propagate(edge_index, x=x, e=e, messenger=messenger)

    def message(self, x_i: Tensor, x_j: Tensor, e: Tensor, messenger: Messenger) -> Tensor:
        """What the messenger says along each edge."""
        return messenger.message(x_i, x_j, e)
