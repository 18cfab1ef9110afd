"""Which part of each parameter a process nowcasts, and the way from there to what it holds of the parameter.

Processes that hold whole parameters (DDP, unplaced parameters beside tensor parallel ones) take an even share each; of
a ``DTensor`` each takes its shard. Where shards would cut through an edge of the graph, such as a column-wise cut
through the kernel positions of one, or hold the same elements twice, elements change places when a state is saved.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn

from nino.graphs.shares import Box, aligned, share
from nino.ranks import Ranks

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from nino.graphs import Block, NeuralGraph


def is_sharded(parameter: Tensor) -> bool:
    """Whether a parameter is a ``DTensor``."""
    return hasattr(parameter, "placements")


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor, without gradients: a view."""
    tensor = tensor.detach()
    return tensor.to_local() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def reshard(model: nn.Module) -> None:
    """Let modules of FSDP drop whole parameters that they keep after a forward pass without a backward one."""
    if "torch.distributed.fsdp" in sys.modules:  # where it was never imported no module is of it
        from torch.distributed.fsdp import FSDPModule

        for module in model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()


@dataclass(frozen=True)
class Shard:
    """This process's part of one parameter.

    Args:
        mesh: the processes, as torch lays them out.
        held: placements on it of what lies here; None where the parameter's own mesh has some of the processes only, as
            where layers that tensor parallel plans leave out are sharded over the other dimension.
        split: placements of the parts, which hold every element once; None where rank 0 has all of it.
        box: this process's part.
        ranks: this process among those that train together.
    """

    mesh: DeviceMesh
    held: tuple[Any, ...] | None
    split: tuple[Any, ...] | None
    box: Box
    ranks: Ranks

    def take(self, parameter: Tensor) -> Tensor:
        """This process's part of a parameter, a view where it lies here as it is."""
        if self.held is not None and self.held == self.split:
            return local(parameter)
        if not is_sharded(parameter):
            whole = parameter.detach()
        elif self.held is not None and self.split is not None:
            return parameter.detach().redistribute(self.mesh, self.split).to_local()  # type: ignore[attr-defined]
        else:
            whole = parameter.detach().full_tensor()  # type: ignore[attr-defined]
        return self.cut(whole)

    def cut(self, whole: Tensor) -> Tensor:
        """This process's part of a whole tensor of the parameter's shape."""
        return whole.new_empty(0) if self.box is None else whole[self.box]

    def give(self, part: Tensor, parameter: Tensor) -> Tensor:
        """What this process holds of a parameter, from the new values ``part`` of every process's part."""
        if self.held is not None and self.held == self.split:
            return part
        shape = parameter.shape
        if self.split is None:
            whole = part.new_empty(shape) if self.box is None else part.contiguous()
            self.ranks.broadcast(whole)
        elif self.held is not None:
            return self.spread(part, shape, self.split).redistribute(self.mesh, self.held).to_local()  # type: ignore[attr-defined]
        else:
            whole = self.spread(part, shape, self.split).full_tensor()  # type: ignore[attr-defined]
        if not is_sharded(parameter):
            return whole
        return whole[_box(shape, parameter.device_mesh, parameter.placements)]  # type: ignore[attr-defined]

    def spread(self, part: Tensor, shape: Sequence[int], placements: tuple[Any, ...]) -> Tensor:
        """A ``DTensor`` of this shape made of one part a process."""
        from torch.distributed.tensor import DTensor

        stride = torch.empty(shape, device="meta").stride()
        return DTensor.from_local(part, self.mesh, placements, run_check=False, shape=torch.Size(shape), stride=stride)

    def states(self, view: Tensor, shape: Sequence[int]) -> Tensor:
        """Saved states of this process's part as a part of those of the whole, of this shape: a view."""
        if self.split is None:
            return view
        from torch.distributed.device_mesh import DeviceMesh

        later = tuple(_along(p, p.dim + 1) for p in self.split)
        mesh = self.mesh
        if mesh.device_type != view.device.type:  # nothing is sent: the mesh only says who holds what
            mesh = DeviceMesh(view.device.type, mesh.mesh, _init_backend=False)
        return replace(self, mesh=mesh).spread(view, shape, later)


class Shards(Sequence[Tensor]):
    """This process's parts of all parameters, as they are now, and its share of the graph.

    Args:
        named: the model's parameters by name, in the order of the graph.
        graph: of the model.
        ranks: the processes that train together; all of them make and read this together.
        even: whether every process computes; else rank 0 alone.
    """

    def __init__(self, named: Mapping[str, Tensor], graph: NeuralGraph, ranks: Ranks, *, even: bool) -> None:
        """Agree on the parts."""
        self._named, self.even, self.computes = named, even, even or ranks.leads
        places = list(zip(graph.parameters, named.values(), strict=True))
        choices = [list(_choices(tensor, p.shape, ranks)) if even else [] for p, tensor in places]
        blocks: dict[str, list[Block]] = {}
        for block in graph.blocks:
            if block.weight is not None:
                blocks.setdefault(block.name, []).append(block)
        fits = [
            [aligned(blocks.get(p.name, []), p, box) for _, box in options]
            for p, options in zip(graph.parameters, choices, strict=True)
        ]
        self.shards: list[Shard] = []
        for (p, tensor), options, *fit in zip(places, choices, *ranks.agree(fits), strict=True):
            good = [all(flags) for flags in zip(*fit, strict=True)]
            whole = tuple(slice(0, n) for n in p.shape)
            split, box = options[good.index(True)] if any(good) else (None, whole if ranks.leads else None)
            self.shards.append(Shard(*_layout(tensor, ranks), split, box, ranks))
        self.boxes = {p.name: shard.box for p, shard in zip(graph.parameters, self.shards, strict=True)}
        self.graph = share(graph, self.boxes, ranks if even else Ranks())

    def __len__(self) -> int:
        """Parameters."""
        return len(self._named)

    def __getitem__(self, index: Any) -> Any:
        """This process's part of a parameter."""
        return self.shards[index].take(list(self._named.values())[index])

    def pick(self, rows: Float[Tensor, "states params"]) -> Float[Tensor, "states own"]:
        """This process's part of whole states."""
        parts = [rows[:, :0]]
        for p in self.graph.whole.parameters:
            if (box := self.boxes[p.name]) is not None:
                parts.append(rows[:, p.slice].view(-1, *p.shape)[(slice(None), *box)].flatten(1))
        return torch.cat(parts, dim=1)

    def join(self, boxes: Sequence[Mapping[str, Box]], rows: Sequence[Tensor]) -> Float[Tensor, "states params"]:
        """Whole states from every process's boxes and parts."""
        whole = rows[0].new_empty(len(rows[0]), self.graph.whole.num_parameters)
        for held, part in zip(boxes, rows, strict=True):
            start = 0
            for p in self.graph.whole.parameters:
                if (box := held[p.name]) is not None:
                    window = whole[:, p.slice].view(-1, *p.shape)[(slice(None), *box)]
                    stop = start + window[0].numel() if len(window) else start
                    window.copy_(part[:, start:stop].view(window.shape))
                    start = stop
        return whole


def _layout(parameter: Tensor, ranks: Ranks) -> tuple[DeviceMesh, tuple[Any, ...] | None]:
    """A mesh of all processes, and the parameter's placements on it; see ``Shard``."""
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import Replicate

    if is_sharded(parameter) and parameter.device_mesh.size() == ranks.world:  # type: ignore[attr-defined]
        return parameter.device_mesh, parameter.placements  # type: ignore[attr-defined]
    group: Any = ranks.group or dist.group.WORLD
    mesh = DeviceMesh.from_group(group, parameter.device.type)
    return mesh, None if is_sharded(parameter) else (Replicate(),)


def _box(shape: Sequence[int], mesh: DeviceMesh, placements: tuple[Any, ...]) -> tuple[slice, ...]:
    """What of a tensor of this shape lies here."""
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    sizes, first = compute_local_shape_and_global_offset(tuple(shape), mesh, placements)
    return tuple(slice(start, start + n) for start, n in zip(first, sizes, strict=True))


def _along(placement: Any, dim: int) -> Any:
    """A placement along another dimension."""
    split = {"split_factor": placement.split_factor} if hasattr(placement, "split_factor") else {}
    return type(placement)(dim, **split)


def _choices(parameter: Tensor, shape: Sequence[int], ranks: Ranks) -> Iterator[tuple[tuple[Any, ...], Box]]:
    """Placements that hold every element once, with this process's box: what lies here first, then long dimensions."""
    from torch.distributed.tensor import Shard as Sharded

    mesh, held = _layout(parameter, ranks)
    dims = sorted(range(len(shape)), key=lambda d: -shape[d])
    tried = [(Sharded(d),) * mesh.ndim for d in dims]
    # torch's strided shards, of tensor and data parallel together, are runs of rows where they are even
    if held is not None and all(p.is_replicate() or type(p) is Sharded or not shape[p.dim] % mesh.size() for p in held):
        cut = {p.dim for p in held if not p.is_replicate()}
        filled = [tuple(Sharded(d) if p.is_replicate() else p for p in held) for d in dims if d not in cut]
        tried = [*([] if any(p.is_replicate() for p in held) else [held]), *filled, *tried]
    for placements in dict.fromkeys(tried):
        yield placements, _box(shape, mesh, placements)
