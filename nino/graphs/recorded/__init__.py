"""Neural graphs of any model, read off the tensor operations of one forward pass.

Read in this order: ``neurons`` (neurons by number, and what joins them), ``values`` (axes and neurons of a tensor),
``reading`` (the primitives), ``rules`` (what each ATen operation does), ``recorder`` (the forward pass), ``aliasing``
(tensors that share memory), ``parts`` (slices treated apart), ``assemble`` and ``blocks`` (the graph). What a
graph calls interchangeable is checked by `nino.graphs.symmetry`.
"""

from nino.graphs.recorded.alone import parameters_alone
from nino.graphs.recorded.guess import guessed, record_without_example
from nino.graphs.recorded.record import record_graph

__all__ = ["guessed", "parameters_alone", "record_graph", "record_without_example"]
