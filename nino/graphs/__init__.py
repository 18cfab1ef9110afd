"""A network's parameters as a neural graph: groups of neurons joined by blocks of edges."""

from nino.graphs.builder import MAX_FEATURES, GraphBuilder
from nino.graphs.core import Block, EdgeType, Nodes, Parameter, WeightView
from nino.graphs.graph import NeuralGraph
from nino.graphs.neurons import Neurons
from nino.graphs.registry import Declaration, neural_graph, register_graph
from nino.graphs.windows import window

__all__ = [
    "MAX_FEATURES",
    "Block",
    "Declaration",
    "EdgeType",
    "GraphBuilder",
    "NeuralGraph",
    "Neurons",
    "Nodes",
    "Parameter",
    "WeightView",
    "neural_graph",
    "register_graph",
    "window",
]
