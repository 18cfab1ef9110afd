"""Neural graphs of any model, read off the tensor operations of one forward pass."""

from nino.graphs.recorded.record import record_graph

__all__ = ["record_graph"]
