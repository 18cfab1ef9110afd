"""One nowcast from the checkpoints of a run: a training of any kind stops, jumps, and resumes from the file."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nino.graphs import NeuralGraph
from nino.nowcasters import FileStates, Nowcaster, load_nowcaster
from nino.offline.checkpoints import Checkpoint, Copy, numbered, step_of, write_like
from nino.offline.network import model_and_graph, names_of, predict
from nino.optim.checks import check_update_scale
from nino.optim.still import check_still, unmoved
from nino.schedule import Schedule

log = logging.getLogger("nino.optim")


@dataclass(frozen=True)
class OfflineStep:
    """What ``step`` did.

    Args:
        path: the checkpoint it wrote.
        steps: of the checkpoints it read, oldest first.
        k: horizon, in states.
        seconds: of the whole step, reading and writing included.
        norm: L2 norm of the parameters' change.
    """

    path: Path
    steps: tuple[int, ...]
    k: int
    seconds: float
    norm: float


def step(
    checkpoints: str | Path | Sequence[str | Path],
    nowcaster: Nowcaster | str | Path,
    k: int | None = None,
    *,
    max_train_steps: int | None = None,
    model: nn.Module | None = None,
    graph: NeuralGraph | None = None,
    example: Any = None,
    out: str | Path | None = None,
    pattern: str | None = None,
    spacing: int | None = None,
    period: int | None = None,
    max_horizon: int = 40,
    power: float = 2.0,
    context: int | None = None,
    update_scale: float = 1.0,
    topology: str = "released",
    unknown: str = "error",
    device: str | torch.device = "cpu",
    memory_budget: int | None = None,
    threads: int | None = None,
    still: str = "keep",
) -> OfflineStep:
    """Nowcast from the last checkpoints of a run and write one that training resumes from.

    The checkpoint written is a copy of the last one (optimizer, scheduler, step number and all) with new weights: a
    nowcast does not count as a training step here. Elements that are equal in all checkpoints stay, see ``still``.

    Args:
        checkpoints: a folder of checkpoints whose names end in their step: ``checkpoint-200`` (Hugging Face folders,
            sharded or not), ``step_200.pt`` (torch: a state dict, or a dict that holds one), ``model-200.safetensors``;
            or the checkpoints themselves, oldest first, of any names.
        nowcaster: a nowcaster, its file or known name.
        k: horizon in states (checkpoints); None takes the nowcaster's, if it knows one only, or the paper's decay for
            ``max_train_steps``.
        max_train_steps: T of the whole run, where ``k`` is not given.
        model: the architecture, values ignored (may be on the meta device); None builds it from ``config.json`` in a
            Hugging Face folder.
        graph: its neural graph; None makes it.
        example: inputs of one step, to record the graph of a model that no declaration knows.
        out: what to write; None takes ``nowcast/`` beside the last checkpoint, and its name. Must not exist.
        pattern: shell pattern of the checkpoints' names, where others lie beside them.
        spacing: steps that should lie between them; None takes what is there, if it is the same throughout.
        period: steps between the nowcasts of the whole run, where ``k`` is not given; None takes the number of
            checkpoints that are read times the steps between two of them.
        max_horizon: k of the first nowcast of the decay, in states.
        power: p of the decay, see ``nino.optim.horizons``.
        context: checkpoints to read; None takes what the nowcaster reads (5).
        update_scale: factor on the change.
        topology: of the graph made here.
        unknown: ``error`` or ``carry``, for modules that the graph does not know.
        device: where a network nowcaster computes.
        memory_budget: bytes that its temporaries may take.
        threads: on which it is computed on a CPU; None takes the environment variable ``NINO_THREADS``, else torch's
            own number.
        still: ``keep``: elements that are equal in all checkpoints stay, as in the wrapper; ``predict``: they are
            nowcast, too.

    Returns:
        What was read and written.

    Raises:
        FileNotFoundError: if there is no folder or no checkpoint.
        FileExistsError: if ``out`` exists.
        ValueError: for too few checkpoints, gaps between them, half-written ones, those of another model, and
            predictions that are not finite; each names what is wrong.
    """
    clock = perf_counter()
    check_still(still)
    check_update_scale(update_scale)
    if isinstance(nowcaster, str | Path):
        nowcaster = load_nowcaster(nowcaster)
    if isinstance(checkpoints, str | Path):
        entries = last_of(numbered(Path(checkpoints), pattern), context or nowcaster.context or 5, spacing)
    else:
        entries = given([Path(path) for path in checkpoints], context or nowcaster.context, spacing)
    steps = tuple(number for number, _ in entries)
    if k is None and max_train_steps is None:
        k = nowcaster.fixed_horizon
    horizon = _horizon(k, max_train_steps, steps, period, max_horizon, power)
    target = Path(out) if out is not None else entries[-1][1].parent / "nowcast" / entries[-1][1].name
    if target.exists():
        raise FileExistsError(f"{target} exists already: move it away, or pass another `out`")
    opened = [Checkpoint.open(path, number) for number, path in entries]
    for checkpoint in opened[:-1]:
        checkpoint.require_same_tensors(opened[-1])
    model, graph = model_and_graph(opened[-1], nowcaster, model, graph, topology, unknown, example)
    places = {checkpoint.path: checkpoint.locate(names_of(model)) for checkpoint in opened}
    states = FileStates(
        list(places), graph, read=lambda path: {name: copies[0].tensor for name, copies in places[path].items()}
    )
    if hasattr(nowcaster, "at_step"):  # as in the wrapper
        nowcaster.at_step(steps[-1])
    asked = {} if threads is None else {"threads": threads}  # not every nowcaster of a user's takes it
    prediction = predict(nowcaster, graph, states, horizon, torch.device(device), memory_budget=memory_budget, **asked)
    changed, norm = _changes(graph, model, states, places[opened[-1].path], prediction, update_scale, still)
    write_like(opened[-1], target, changed)
    result = OfflineStep(target, steps, horizon, perf_counter() - clock, norm)
    log.info("steps %s: nowcast k=%d written to %s (%.1f s, norm %.3g)", steps, horizon, target, result.seconds, norm)
    return result


def given(paths: Sequence[Path], context: int | None, spacing: int | None) -> list[tuple[int, Path]]:
    """Checkpoints named one by one, oldest first, with the steps in their names; 1, 2, ... unless these all ascend.

    Raises:
        ValueError: for another number than a nowcast reads, the same one twice, or a gap between steps.
    """
    if len(paths) != (context or max(len(paths), 2)):
        raise ValueError(f"{len(paths)} checkpoints are named, but a nowcast reads {context or 'at least 2'}")
    if len({path.resolve() for path in paths}) < len(paths):
        raise ValueError("a checkpoint is named twice: name each once, oldest first")
    steps = [step_of(path) for path in paths]
    if None in steps or any(after <= before for before, after in pairwise(steps)):  # type: ignore[operator]
        return list(enumerate(paths, start=1))
    return last_of(list(zip(steps, paths, strict=True)), len(paths), spacing)  # type: ignore[arg-type]


def last_of(entries: list[tuple[int, Path]], context: int, spacing: int | None) -> list[tuple[int, Path]]:
    """The last ``context`` checkpoints, equally far apart.

    Args:
        entries: (step, path), ascending.
        context: how many.
        spacing: steps that should lie between two; None: whatever lies between the last two.

    Raises:
        ValueError: for too few, or for a gap; says where.

    >>> last_of([(n, Path(f"step_{n}.pt")) for n in (100, 300, 400, 500)], 3, None)[0][0]
    300
    """
    if len(entries) < context:
        raise ValueError(
            f"only {len(entries)} checkpoints (steps {', '.join(str(n) for n, _ in entries)}), "
            f"but a nowcast reads {context}"
        )
    entries = entries[-context:]
    apart = spacing or (entries[-1][0] - entries[-2][0] if context > 1 else 1)
    for (earlier, path), (later, other) in pairwise(entries):
        if later - earlier != apart:
            raise ValueError(
                f"{path.name} and {other.name} are {later - earlier} steps apart, but {apart} are expected: the "
                f"{context} last checkpoints must be equally far apart, with none missing and none between"
            )
    return entries


def _horizon(
    k: int | None,
    max_train_steps: int | None,
    steps: tuple[int, ...],
    period: int | None = None,
    max_horizon: int = 40,
    power: float = 2.0,
) -> int:
    """The horizon k as given, or the schedule's at the last step; between two nowcasts, that of the earlier one."""
    if (k is None) == (max_train_steps is None):
        raise ValueError(f"pass either `k` (={k}) or `max_train_steps` (={max_train_steps})")
    if k is not None:
        return k
    assert max_train_steps is not None
    period = period or len(steps) * (steps[-1] - steps[-2])
    decay = Schedule.make(
        period=period, context=1, max_train_steps=max_train_steps, max_horizon=max_horizon, power=power
    )
    return decay.horizon(steps[-1] // period * period)


def _changes(
    graph: NeuralGraph,
    model: nn.Module,
    states: FileStates,
    places: Mapping[str, Sequence[Copy]],
    prediction: Float[Tensor, " params"],
    scale: float,
    still: str,
) -> tuple[dict[Path, dict[tuple[str, ...], Tensor]], float]:
    """New tensors by weight file and keys, and the norm of the change."""
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad} | set(graph.carried)
    changed: dict[Path, dict[tuple[str, ...], Tensor]] = {}
    square = 0.0
    for parameter in graph.parameters:
        parts = states.parts(parameter)
        held = unmoved(part.flatten() for part in parts) if still == "keep" else None
        if parameter.name in frozen or (held is not None and bool(held.all())):
            continue
        last = parts[-1].flatten().float()
        new = last + scale * (prediction[parameter.slice].float() - last) if scale != 1 else prediction[parameter.slice]
        new = new.to(parts[-1].dtype, copy=True)
        if held is not None:
            new = torch.where(held, parts[-1].flatten(), new)
        if not bool(new.isfinite().all()):
            raise ValueError(f"the nowcast of parameter {parameter.name!r} is not finite: nothing was written")
        square += float(torch.linalg.vector_norm(new.float() - last, dtype=torch.float64)) ** 2
        for copy in places[parameter.name]:
            changed.setdefault(copy.file.path, {})[copy.keys] = new.view(copy.tensor.shape)
    return changed, square**0.5
