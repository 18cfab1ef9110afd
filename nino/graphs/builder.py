"""Declaring a neural graph: groups of neurons and what joins them, without index arithmetic."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from nino.graphs.core import EdgeType
from nino.graphs.declared import Declared, number_groups, unplaced
from nino.graphs.graph import NeuralGraph
from nino.graphs.neurons import Neurons
from nino.graphs.weights import Weights, positions, scrambled_rows, some

#: Kernel positions that one edge of the released networks holds (a 3 x 3 convolution).
MAX_FEATURES = 9


class GraphBuilder:
    """Collects groups and the blocks between them, and numbers the nodes at the end.

    Weights are named, or windows on a named one: ``weight(name)`` is a meta tensor of the parameter's shape that is
    sliced, transposed and reshaped like any tensor; only where it points is kept. Weights are
    ``(target, source, *kernel)``, as those of ``nn.Linear`` and ``nn.Conv2d`` are.

    Args:
        parameters: the model, or (name, shape) of all its parameters in ``named_parameters`` order.
        topology: name of the topology, kept in the graph.

    >>> b = GraphBuilder([("weight", (3, 2)), ("bias", (3,))])
    >>> x, y = b.group("x", 2, fixed=True), b.group("y", 3, fixed=True)
    >>> b.dense(x, y, "weight")
    >>> b.bias(y, "bias")
    >>> b.build().endpoints().tolist()
    [[0, 3], [1, 3], [0, 4], [1, 4], [0, 5], [1, 5], [2, 3], [2, 4], [2, 5]]
    """

    def __init__(self, parameters: nn.Module | Iterable[tuple[str, tuple[int, ...]]], topology: str = "released"):
        """See the class."""
        self.topology = topology
        self._weights = Weights(parameters)
        self._sizes: dict[str, int] = {}
        self._fixed: set[str] = set()
        self._satellites: dict[str, list[str]] = {}
        self._order: list[str] = []
        self._blocks: list[Declared] = []
        self._words: str | None = None
        self._reasons: dict[str, str] = {}

    def __contains__(self, name: str) -> bool:
        """Whether the model has a parameter of this name (a tied one only under its first name)."""
        return name in self._weights

    @property
    def has_words(self) -> bool:
        """Whether a group of words is declared."""
        return self._words is not None

    @property
    def exact(self) -> bool:
        """Whether the corrected topology is being declared."""
        return self.topology == "exact"

    @property
    def naive(self) -> bool:
        """Whether attention is to be declared without its heads."""
        return self.topology == "naive"

    # -- groups ------------------------------------------------------------------------------------------------------

    def group(
        self, name: str, size: int, *, fixed: bool = False, before: Neurons | None = None, words: bool = False
    ) -> Neurons:
        """Declare a group of neurons.

        Args:
            name: unique name.
            size: number of neurons.
            fixed: their order is part of the function (inputs, outputs, tokens, positions).
            before: number its nodes just before this group's, not after the last one's.
            words: nodes of the word embedding, which carry their word's id.

        Returns:
            The whole group.

        Raises:
            ValueError: if the name is taken, or the group is empty.
        """
        if name in self._sizes:
            raise ValueError(f"group {name!r} is declared twice: give each group of neurons a name of its own")
        if size < 1:
            raise ValueError(f"group {name!r}: `size` (={size}) must be at least 1")
        self._sizes[name] = size
        if fixed:
            self._fixed.add(name)
        if before is None:
            self._order.append(name)
        else:
            self._satellites.setdefault(before.group, []).append(name)
        if words:
            self._words = name
        return Neurons(name, 0, size)

    def fix(self, neurons: Neurons) -> None:
        """Say that a declared group's order is part of the function."""
        self._fixed.add(neurons.group)

    def fix_ends(self) -> None:
        """Fix every group that no edge leaves: nothing in the network reads it, so it is an output."""
        self._fixed |= self._sizes.keys() - {block.source.group for block in self._blocks}

    # -- parameters --------------------------------------------------------------------------------------------------

    def weight(self, name: str) -> Tensor:
        """A parameter as a meta tensor, to take windows of.

        Args:
            name: the parameter.

        Returns:
            A meta tensor of its shape whose offset and strides are those on the flat parameter vector.

        Raises:
            ValueError: if the model has no such parameter.
        """
        return self._weights.view(name)

    def parameter_of(self, weight: Tensor) -> str:
        """Name of the parameter that a window lies in."""
        return self._weights.window(weight)[1]

    def placed(self, name: str) -> bool:
        """Whether some block holds the parameter already."""
        held = self._weights[name].name
        return any(block.name == held and block.weight is not None for block in self._blocks)

    def leave(self, name: str, reason: str) -> None:
        """Say why a parameter is placed on no edge; ``build`` refuses it with this reason, or carries it."""
        self._reasons.setdefault(self._weights[name].name, reason)

    def dense(self, source: Neurons, target: Neurons, weight: str | Tensor, edge_type: EdgeType | None = None) -> None:
        """Join every source to every target by a weight; kernels of more than 9 positions take parallel edges.

        Args:
            source: S neurons.
            target: T neurons.
            weight: ``(T, S)`` or ``(T, S, *kernel)``: a parameter's name or a window on one.
            edge_type: default CONV where there is a kernel of more than one dimension or position, else LINEAR.

        Raises:
            ValueError: if the weight's shape does not fit.
        """
        w, name = self._weights.window(weight)
        if w.ndim < 2 or w.shape[:2] != (target.size, source.size):
            raise ValueError(
                f"weight {name!r} of shape {tuple(w.shape)} cannot join {source.size} sources ({source.group!r}) to "
                f"{target.size} targets ({target.group!r}): pass a window of shape (targets, sources, *kernel)"
            )
        if edge_type is None:
            edge_type = EdgeType.CONV if w.ndim > 2 else EdgeType.LINEAR
        for part in positions(w, 2, name).split(MAX_FEATURES, dim=2):
            self._blocks.append(Declared(name, source, target, edge_type, "dense", part.transpose(0, 1)))

    def diagonal(self, source: Neurons, target: Neurons, weight: str | Tensor, edge_type: EdgeType) -> None:
        """Join the i-th source to the i-th target by a weight (a depth-wise convolution, a scale).

        Args:
            source: S neurons.
            target: as many.
            weight: ``(S,)`` or ``(S, *kernel)``: a parameter's name or a window on one.
            edge_type: the edges' type.

        Raises:
            ValueError: if the weight's shape does not fit.
        """
        w, name = self._weights.window(weight)
        if w.ndim < 1 or not w.shape[0] == source.size == target.size:
            raise ValueError(
                f"weight {name!r} of shape {tuple(w.shape)} cannot join {source.size} neurons of {source.group!r} one "
                f"by one to {target.size} of {target.group!r}: pass a window of shape (neurons, *kernel)"
            )
        for part in positions(w, 1, name).split(MAX_FEATURES, dim=1):
            self._blocks.append(Declared(name, source, target, edge_type, "diagonal", part.unsqueeze(1)))

    def embedding(
        self, rows: Neurons, target: Neurons, weight: str | Tensor, edge_type: EdgeType, *, scrambled: bool = False
    ) -> None:
        """Join the node of each row of a table to every target.

        Args:
            rows: R nodes.
            target: d neurons.
            weight: (R, d): a parameter's name or a window on one.
            edge_type: the edges' type.
            scrambled: lay the elements down as the released graphs do outside GPT-2: element (r, j) on the
                ``j * R + r``-th edge, counted row by row, which is that of row r and target j only where R or d is 1.
        """
        w, name = self._weights.window(weight)
        if not scrambled:
            self.dense(rows, target, w.T, edge_type)
            return
        if w.shape != (rows.size, target.size):
            raise ValueError(f"table {name!r} has shape {tuple(w.shape)}, not ({rows.size}, {target.size})")
        for source, part, window in scrambled_rows(w):
            self.dense(rows[source], target[part], window.T, edge_type)

    def star(self, target: Neurons, weight: str | Tensor, edge_type: EdgeType, *, node: Neurons | None = None) -> None:
        """Join a node of its own to each target by a weight vector (a bias, a norm's scale).

        Args:
            target: T neurons.
            weight: T elements: a parameter's name or a window on one.
            edge_type: the edges' type.
            node: the node, where it already exists.
        """
        w, name = self._weights.window(weight)
        if node is None:
            node = self.group(self.unused(name), 1, before=target)
        self.dense(node, target, w.reshape(-1, 1), edge_type)

    def bias(self, target: Neurons, weight: str | Tensor) -> None:
        """A bias node joined to ``target``."""
        self.star(target, weight, EdgeType.BIAS)

    def norm(self, target: Neurons, name: str) -> None:
        """The scale ``name.weight`` and bias ``name.bias`` of a normalisation of ``target``, where they exist."""
        if f"{name}.weight" in self:
            self.star(target, f"{name}.weight", EdgeType.NORM)
        if f"{name}.bias" in self:
            self.bias(target, f"{name}.bias")

    def linear(self, source: Neurons, target: Neurons, name: str, edge_type: EdgeType | None = None) -> None:
        """The weight ``name.weight`` (T, S) and, where it exists, the bias ``name.bias`` of a linear layer."""
        self.dense(source, target, f"{name}.weight", edge_type)
        if f"{name}.bias" in self:
            self.bias(target, f"{name}.bias")

    # -- auxiliary edges ---------------------------------------------------------------------------------------------

    def link(self, source: Neurons, target: Neurons, edge_type: EdgeType = EdgeType.HEAD, name: str = "") -> None:
        """Join every source to every target by auxiliary edges, which carry a constant."""
        self._blocks.append(Declared(name or f"{source.group}->{target.group}", source, target, edge_type, "dense"))

    def residual(self, source: Neurons, target: Neurons, edge_type: EdgeType = EdgeType.RESIDUAL) -> None:
        """Carry each source over to the target of the same number: auxiliary edges."""
        if source.size != target.size:
            raise ValueError(
                f"{source.size} neurons of {source.group!r} cannot be carried over to {target.size} of "
                f"{target.group!r}: a residual joins as many sources as targets"
            )
        self._blocks.append(Declared(f"{source.group}->{target.group}", source, target, edge_type, "diagonal"))

    def heads(self, heads: Neurons, *neurons: Neurons) -> None:
        """Join node h of ``heads`` to the h-th of ``heads.size`` equal parts of each of ``neurons``."""
        for group in neurons:
            for head, part in zip(heads.split(heads.size), group.split(heads.size), strict=True):
                self.link(head, part)

    # -- the graph ---------------------------------------------------------------------------------------------------

    def build(self, unknown: str = "error", model: str = "the model") -> NeuralGraph:
        """Number the nodes and check that every weight lies on exactly one edge.

        Args:
            unknown: ``error`` refuses parameters that no block holds, ``carry`` lists them in ``graph.carried``.
            model: what to call the model in errors.

        Returns:
            The graph.

        Raises:
            ValueError: if a parameter lies on no edge, in part, or twice.
        """
        carried = unplaced(self._weights.parameters, self._blocks)
        if carried and unknown == "error":
            reasons = "; ".join(dict.fromkeys(self._reasons[name] for name in carried if name in self._reasons))
            raise ValueError(
                f"{model}: {some(carried)} lie on no edge of the neural graph{reasons and f' ({reasons})'}. Declare "
                f'the architecture (nino.graphs.register_graph, see docs/graphs.md), or pass unknown="carry" to let '
                f"the base optimizer alone train them"
            )
        groups = number_groups(self._order, self._satellites, self._sizes)
        return NeuralGraph(
            groups=groups,
            blocks=tuple(block.numbered(groups) for block in self._blocks),
            parameters=tuple(self._weights.parameters),
            num_nodes=sum(self._sizes.values()),
            topology=self.topology,
            fixed=frozenset(self._fixed),
            word_nodes=groups[self._words] if self._words is not None else None,
            carried=tuple(carried),
        )

    def unused(self, name: str) -> str:
        """The name, or one made from it that no group has yet."""
        candidate, count = name, 1
        while candidate in self._sizes:
            count += 1
            candidate = f"{name}#{count}"
        return candidate
