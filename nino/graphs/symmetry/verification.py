"""Renumber what a graph calls interchangeable, and compare what the network computes."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from nino.device import same_rng
from nino.graphs.forward import as_call, output_tensors
from nino.graphs.structure import GraphStructure
from nino.graphs.symmetry.atoms import Renumbering, renumberings
from nino.graphs.symmetry.exchanges import Exchange, exchanges
from nino.graphs.windows import window

log = logging.getLogger("nino.graphs")

#: Largest relative change of outputs that counts as none.
TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-3}

Change = Renumbering | Exchange
Graph = TypeVar("Graph", bound=GraphStructure)


@dataclass(frozen=True, slots=True)
class Verification(Generic[Graph]):
    """What renumbering has shown.

    Args:
        renumbered: sets of groups that were renumbered together, by the groups' names.
        difference: relative change of the outputs when all sets that keep the function are renumbered at once.
        changing: sets whose renumbering changes the function, with the relative change.
        graph: the graph that was checked or, where asked for, the one with these groups fixed.
        precision: of the outputs that were compared; float32 where an operation has no kernel for float64.
    """

    renumbered: tuple[tuple[str, ...], ...]
    difference: float
    changing: dict[tuple[str, ...], float]
    graph: Graph
    precision: torch.dtype = torch.float64

    def __bool__(self) -> bool:
        """Whether no renumbering changes the function."""
        return not self.changing

    def __str__(self) -> str:
        """One line."""
        if not self.renumbered:
            return "nothing to renumber: the graph calls no neurons interchangeable"
        text = f"{len(self.renumbered)} renumberings of interchangeable neurons"
        if self:
            change = f"relative change {self.difference:.0e} in {str(self.precision).removeprefix('torch.')}"
            return f"verified: {text} leave the outputs as they are ({change})"
        bad = "; ".join(f"{', '.join(names[:3])} ({change:.0e})" for names, change in list(self.changing.items())[:4])
        return f"not exact: {len(self.changing)} of {text} change the outputs: {bad}"


def verify(graph: Graph, model: nn.Module, example: Any, *, fix: bool = False, seed: int = 0) -> Verification[Graph]:
    """Renumber the neurons that the graph calls interchangeable in a float64 copy, and compare outputs.

    Ranges of neurons are renumbered, and heads (and other sets of ranges that the graph calls alike) change places.
    Integers must stay equal, and the same elements must be NaN or infinite.

    Random numbers are added to norm scales, biases and other vectors first, since those of a new network are all alike,
    and the statistics of batch norm are reset. The copy is in evaluation mode, and in float32 where float64 fails.

    Args:
        graph: the graph of the model.
        model: the network; not changed.
        example: a tensor, a tuple of positional or a dict of keyword inputs.
        fix: give back the graph with the groups fixed whose renumbering changes the outputs.
        seed: of the renumberings and the drawn parameters.

    Returns:
        What was renumbered, and what of it changes the function.

    Raises:
        ValueError: if the graph is not that of the model, or no output has a finite element.
    """
    with same_rng(), torch.no_grad(), torch.autocast("cpu", enabled=False):
        torch.manual_seed(seed)
        twin = _copy(model, torch.float64)
        names = [name for name, _ in twin.named_parameters()]
        if len(names) != len(graph.parameters):
            raise ValueError(f"the graph has {len(graph.parameters)} parameters, the model {len(names)}: pass its own")
        try:
            check = _Check(graph, twin, example, torch.float64)
        except RuntimeError as error:  # an operation that has no kernel for float64
            log.info("the outputs are compared in float32: %s", error)
            check = _Check(graph, _copy(model, torch.float32), example, torch.float32)
        sets: list[Change] = [*renumberings(graph), *exchanges(graph)]
        orders = [torch.randperm(s.size) if isinstance(s, Renumbering) else None for s in sets]
        changing: dict[int, float] = {}
        difference = check.change(sets, orders)
        if not difference <= check.tolerance:
            changing = check.search(sets, orders, list(range(len(sets))), difference)
            rest = [i for i in range(len(sets)) if i not in changing]
            difference = check.change([sets[i] for i in rest], [orders[i] for i in rest])
    bad = {sets[i].names: change for i, change in changing.items()}
    fixed = graph
    if fix and bad:
        fixed = replace(graph, fixed=graph.fixed | {name for names in bad for name in names}, _cache={})
    return Verification(tuple(s.names for s in sets), difference, bad, fixed, check.precision)


class _Check:
    """A copy of the model in float64, or in float32 where that fails, and its outputs."""

    def __init__(self, graph: GraphStructure, model: nn.Module, example: Any, dtype: torch.dtype) -> None:
        self.precision, self.tolerance = dtype, TOLERANCES[dtype]
        self.graph, self.model = graph, model
        args, kwargs = as_call(example)
        self.call = tree_map(lambda x: _cast(x.detach().cpu(), dtype) if isinstance(x, Tensor) else x, (args, kwargs))
        self.flat = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
        self.buffers = {name: b.detach().clone() for name, b in model.named_buffers()}
        self.outputs = self.run()
        if not any(bool(t.isfinite().any()) for t in self.outputs):
            what = "only NaN, infinity or nothing" if self.outputs else "no tensor"
            raise ValueError(
                f"{type(model).__name__}: with this `example` the forward returns {what} in evaluation mode, vectors "
                f"randomised: there is nothing to compare; pass another example"
            )

    def run(self) -> list[Tensor]:
        """The outputs."""
        torch.manual_seed(0)
        output = self.model(*copy.deepcopy(self.call[0]), **copy.deepcopy(self.call[1]))
        outputs = [t.dequantize() if t.is_quantized else t for t in output_tensors(output)]
        return [t.detach().clone() for t in outputs]

    def change(self, sets: Sequence[Change], orders: Sequence[Tensor | None]) -> float:
        """Largest relative change of an output under these renumberings."""
        source = torch.arange(self.graph.num_nodes)
        for chosen, order in zip(sets, orders, strict=True):
            if isinstance(chosen, Renumbering) and order is not None:
                for atom in chosen.atoms:
                    source[atom : atom + chosen.size] = atom + order
        flat, steps = moved(self.graph, self.flat, source), [source]
        for chosen in sets:
            if isinstance(chosen, Exchange):
                flat = chosen.applied(flat)
                steps.append(chosen.places())
        self._load(flat, steps)
        new = self.run()
        self._load(self.flat, [])
        if len(new) != len(self.outputs):
            return float("inf")
        return max(_relative(a, b) for a, b in zip(self.outputs, new, strict=True))

    def search(
        self, sets: Sequence[Change], orders: Sequence[Tensor | None], which: list[int], change: float
    ) -> dict[int, float]:
        """Which of some renumberings change the outputs, by halving."""
        if len(which) == 1:
            return {which[0]: change}
        out: dict[int, float] = {}
        for half in (which[: len(which) // 2], which[len(which) // 2 :]):
            value = self.change([sets[i] for i in half], [orders[i] for i in half])
            if not value <= self.tolerance:
                out |= self.search(sets, orders, half, value)
        return out

    def _load(self, flat: Tensor, steps: Sequence[Tensor]) -> None:
        offset = 0
        for p in self.model.parameters():
            p.copy_(flat[offset : offset + p.numel()].view(p.shape))
            offset += p.numel()
        for name, b in self.model.named_buffers():
            if b.shape == self.buffers[name].shape:  # observers of quantisation resize theirs
                content = self.buffers[name]
                for source in steps:
                    content = _moved_buffer(content, self.graph.buffers.get(name, ()), source)
                b.copy_(content)


def moved(
    graph: GraphStructure, flat: Float[Tensor, " params"], source: Int[Tensor, " nodes"]
) -> Float[Tensor, " params"]:
    """Parameters after a renumbering: node n gets the weights that node ``source[n]`` had.

    Args:
        graph: the graph.
        flat: contiguous.
        source: maps every block's ends onto themselves.
    """
    out = flat.clone()
    for block in graph.blocks:
        if block.weight is None:
            continue
        s = source[block.source.slice] - block.source.start
        old, new = window(flat, block), window(out, block)
        if block.kind == "diagonal":
            new.copy_(old[s])
        else:
            t = source[block.target.slice] - block.target.start
            new.copy_(old[s][:, t])
    return out


def _moved_buffer(buffer: Tensor, dims: Sequence[tuple[int, Tensor]], source: Tensor) -> Tensor:
    for dim, nodes in dims:
        place = {int(n): i for i, n in enumerate(nodes)}
        order = torch.tensor([place.get(int(source[n]), i) for i, n in enumerate(nodes)])
        buffer = buffer.index_select(dim, order)
    return buffer


def _copy(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy in this dtype, on the CPU and in evaluation mode, whose parameters tell neurons apart."""
    twin = _deepcopy(model)
    if any(t.device.type == "meta" for t in [*twin.parameters(), *twin.buffers()]):
        twin = twin.to_empty(device="cpu")
        for t in [*twin.parameters(), *twin.buffers()]:
            if t.is_floating_point():
                nn.init.normal_(t, std=0.1 if t.ndim < 2 else float(t[0].numel()) ** -0.5)
    twin = twin.cpu()._apply(lambda t: _cast(t, dtype)).eval()  # `to` would leave out imaginary parts
    for module in twin.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            module.reset_running_stats()
    for p in twin.parameters():
        if p.ndim <= 1 or p.numel() == p.shape[0] or not p.any():
            p.add_(0.3 * torch.randn_like(p))
    return twin


def _cast(t: Tensor, dtype: torch.dtype) -> Tensor:
    """In a floating point dtype, or the complex one of its parts; integers as they are."""
    return t.to(dtype) if t.is_floating_point() else t.to(dtype.to_complex()) if t.is_complex() else t


def _deepcopy(model: nn.Module) -> nn.Module:
    """A copy, also of modules that keep a weight which their forward computes (with its gradient) as an attribute."""
    computed = [(vars(m), k, v) for m in model.modules() for k, v in vars(m).items() if isinstance(v, Tensor)]
    try:
        for attributes, name, tensor in computed:
            attributes[name] = tensor.detach()
        return copy.deepcopy(model)
    finally:
        for attributes, name, tensor in computed:
            attributes[name] = tensor


def _relative(a: Tensor, b: Tensor) -> float:
    """Relative change; infinite between integers that differ, and where other elements are NaN or infinite."""
    keep = torch.isfinite(a)
    if a.shape != b.shape or not torch.equal(keep, torch.isfinite(b)):
        return float("inf")
    if not (a.is_floating_point() or a.is_complex()):
        return 0.0 if torch.equal(a, b) else float("inf")
    scale = a[keep].norm()
    return float((a[keep] - b[keep]).norm() / scale) if scale > 0 else float((a[keep] - b[keep]).norm())
