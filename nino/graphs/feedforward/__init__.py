"""Feed-forward networks of known layers: declared from a trace of their forward, or from the module tree."""

from nino.graphs.feedforward.declare import declare_feedforward, declare_in_order

__all__ = ["declare_feedforward", "declare_in_order"]
