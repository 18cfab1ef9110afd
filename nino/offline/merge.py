"""Merging fine-tuned models by a nowcast: base and fine-tuned models are the states, and what comes next is the merge.

The released code's newest feature (``merge_vit.py``, ``merge_qwen.py``), on the whole graph and all of its edges.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from nino.graphs import EdgeType, NeuralGraph
from nino.nowcasters import FileStates, Nowcaster, load_nowcaster
from nino.offline.checkpoints import Checkpoint, Copy, write_like
from nino.offline.network import model_and_graph, names_of, predict
from nino.optim.checks import check_update_scale
from nino.optim.still import unmoved

log = logging.getLogger("nino.optim")

ORDERS = {2: (0, 1, 2, 2, 1), 3: (0, 1, 2, 2, 3), 4: (0, 1, 2, 3, 4)}
"""By the number of fine-tuned models, the order in which base (0) and fine-tuned ones are five states; as released."""


@dataclass(frozen=True)
class Merge:
    """What ``merge`` did.

    Args:
        path: the model it wrote.
        order: of the states, 0 for the base.
        averaged: parameters that are the fine-tuned models' mean.
        seconds: reading and writing included.
    """

    path: Path
    order: tuple[int, ...]
    averaged: tuple[str, ...]
    seconds: float


def merge(
    base: str | Path,
    finetuned: Sequence[str | Path],
    nowcaster: Nowcaster | str | Path,
    out: str | Path,
    *,
    horizons: Sequence[int] = (1, 2, 3, 4, 5),
    update_scale: float = 0.3,
    model: nn.Module | None = None,
    graph: NeuralGraph | None = None,
    example: Any = None,
    topology: str = "released",
    unknown: str = "error",
    device: str | torch.device = "cpu",
    memory_budget: int | None = None,
) -> Merge:
    r"""Merge fine-tuned models into one.

    .. math:: \theta = \theta_c + \lambda \Big(|K|^{-1} \sum_{k \in K} f(\theta_1 \dots \theta_c; k) - \theta_c\Big)

    for base and fine-tuned models as the states :math:`\theta_1, \dots, \theta_c`, see ``ORDERS``; a nowcaster that
    reads any number of states gets each model once, in the order given. Word embeddings, parameters on no edge of the
    graph and buffers such as batch statistics are the fine-tuned models' mean; elements that are equal in all models
    stay. All else in the merged checkpoint is the first fine-tuned model's.

    Args:
        base: what all were fine-tuned from: a file or folder, as for ``step``.
        finetuned: two to four of them; two or more for a nowcaster that reads any number of states.
        nowcaster: a nowcaster, its file or known name.
        out: file or folder to write, as the first fine-tuned one is. Must not exist.
        horizons: K, horizons whose predictions are averaged.
        update_scale: :math:`\lambda`.
        model: the architecture, values ignored; None builds it from ``config.json`` of a Hugging Face folder.
        graph: its neural graph; None makes it.
        example: inputs of one step, to record the graph of a model that no declaration knows.
        topology: of the graph made here.
        unknown: ``error`` or ``carry``, for modules that the graph does not know.
        device: where a network nowcaster computes.
        memory_budget: bytes that its temporaries may take.

    Returns:
        What was written.

    Raises:
        FileExistsError: if ``out`` exists.
        ValueError: for fewer or more models than states, models of other shapes, no horizons, and predictions that are
            not finite; each names what is wrong.
    """
    clock = perf_counter()
    check_update_scale(update_scale)
    if isinstance(nowcaster, str | Path):
        nowcaster = load_nowcaster(nowcaster)
    order = _order(len(finetuned), nowcaster)
    if not horizons:
        raise ValueError("`horizons` is empty: name one at least, such as 1")
    target = Path(out)
    if target.exists():
        raise FileExistsError(f"{target} exists already: move it away, or pass another `out`")
    opened = [Checkpoint.open(Path(path), number) for number, path in enumerate((base, *finetuned))]
    model, graph = model_and_graph(opened[0], nowcaster, model, graph, topology, unknown, example)
    places = [checkpoint.locate(names_of(model)) for checkpoint in opened]
    mapped = [{name: copies[0].tensor for name, copies in there.items()} for there in places]
    states = FileStates([opened[i].path for i in order], graph, read=_in_turn([mapped[i] for i in order]))
    total = torch.zeros(graph.num_parameters)
    for k in horizons:
        total += predict(nowcaster, graph, states, k, torch.device(device), memory_budget=memory_budget)
    total /= len(horizons)
    averaged = {block.name for block in graph.blocks if block.edge_type is EdgeType.WORD_EMBEDDING} | set(graph.carried)
    changed: dict[Path, dict[tuple[str, ...], Tensor]] = {}
    for parameter in graph.parameters:
        of_models = [tensors[parameter.name] for tensors in mapped]
        held = unmoved(tensor.flatten() for tensor in of_models)
        if held is None or bool(held.all()):
            continue
        new, last = _mean(of_models[1:]), of_models[order[-1]].float()
        if parameter.name not in averaged:
            new = last + update_scale * (total[parameter.slice].view(last.shape) - last)
        _put(changed, places[1][parameter.name], torch.where(held.view(last.shape), last, new), parameter.name)
    for name, copies, tensors in _buffers(model, opened):
        _put(changed, copies, _mean(tensors[1:]), name)
    write_like(opened[1], target, {file.path: changed.get(file.path, {}) for file in opened[1].files})
    result = Merge(target, order, tuple(p.name for p in graph.parameters if p.name in averaged), perf_counter() - clock)
    log.info("%d models merged into %s (%.1f s)", len(finetuned), target, result.seconds)
    return result


def _order(count: int, nowcaster: Nowcaster) -> tuple[int, ...]:
    """The order of the states, for ``count`` fine-tuned models."""
    if nowcaster.context is None and count >= 2:
        return tuple(range(count + 1))
    if count not in ORDERS or nowcaster.context != 5:
        reads = nowcaster.context or "any number of"
        raise ValueError(
            f"{count} fine-tuned models and a nowcaster that reads {reads} states: pass 2, 3 or 4 models and a "
            f"nowcaster that reads 5 states, or any number"
        )
    return ORDERS[count]


def _in_turn(states: list[dict[str, Tensor]]) -> Any:
    """A reader of files that are mapped already, one call a state."""
    left = iter(states)
    return lambda path: next(left)


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack([tensor.float() for tensor in tensors]).mean(0)


def _put(changed: dict[Path, dict[tuple[str, ...], Tensor]], copies: Sequence[Copy], new: Tensor, name: str) -> None:
    """Note a new value at all places of a checkpoint where it lies."""
    if not bool(new.isfinite().all()):
        raise ValueError(f"the merge of {name!r} is not finite: nothing was written")
    for copy in copies:
        changed.setdefault(copy.file.path, {})[copy.keys] = new.to(copy.tensor.dtype).view(copy.tensor.shape)


def _buffers(model: nn.Module, opened: Sequence[Checkpoint]) -> list[tuple[str, list[Copy], list[Tensor]]]:
    """Floating buffers that the checkpoints hold, such as batch statistics, with their places in the first tuned."""
    names = set(model.state_dict(keep_vars=True)) - {name for name, _ in model.named_parameters(remove_duplicate=False)}
    buffers = {name: [name] for name, buffer in model.named_buffers() if name in names and buffer.is_floating_point()}
    places = [checkpoint.locate(buffers) for checkpoint in opened] if buffers else []
    return [(name, places[1][name], [there[name][0].tensor for there in places]) for name in buffers]
