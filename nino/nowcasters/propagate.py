"""Messages along an edge list, averaged at their targets, by PyTorch Geometric."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float, Int
from torch import Tensor
from torch_geometric.nn import MessagePassing


class MeanOfMessages(MessagePassing):
    r"""The mean of the incoming messages of every node, :math:`\frac{1}{|N(t)|} \sum_{s \in N(t)} m_{st}`.

    Args:
        say: a message for each edge, from the states of its target, its source and its own.
    """

    def __init__(self, say: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        """Remember the message."""
        super().__init__(aggr="mean")
        self.say = say

    def forward(
        self,
        x: Float[Tensor, "nodes hidden"],
        edge_index: Int[Tensor, "2 edges"],
        e: Float[Tensor, "edges hidden"],
    ) -> Float[Tensor, "nodes hidden"]:
        """Send a message along every edge and average those that arrive; zero where no edge ends."""
        return self.propagate(edge_index, x=x, e=e)

    def message(self, x_i: Tensor, x_j: Tensor, e: Tensor) -> Tensor:
        """What is said along each edge."""
        return self.say(x_i, x_j, e)
