"""The wrapper's neural graph: declared, or recorded in the first forward pass of the training."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nino.optim.checks import check_graph

if TYPE_CHECKING:
    from nino.graphs import NeuralGraph
    from nino.optim.nowcasting import Nowcasting

log = logging.getLogger("nino.graphs")


def settle_graph(nowcasting: Nowcasting, inner: nn.Module, model: nn.Module, topology: str, unknown: str) -> None:
    """Give the wrapper its graph now where no forward pass is needed, else in the first forward pass.

    Args:
        nowcasting: what is to nowcast; its graph is set.
        inner: the model without wrappers.
        model: the model as the user passed it: its next forward pass is the one that is recorded.
        topology: as in ``neural_graph``.
        unknown: as in ``neural_graph``.

    Raises:
        ValueError: as ``neural_graph``, for a nowcaster that needs the graph; for a graph that none of the trained
            parameters lies on.
    """
    if nowcasting.graph is not None:
        take_graph(nowcasting, nowcasting.graph)
        return
    from nino.graphs import neural_graph
    from nino.graphs.recorded.examples import of_transformers
    from nino.graphs.registry import graph_now

    assert nowcasting.nowcaster is not None
    wiring = getattr(nowcasting.nowcaster, "needs_graph", True)
    graph = graph_now(inner, topology, unknown, wiring=wiring)  # type: ignore[arg-type]
    if graph is None and of_transformers(inner):
        with suppress(ValueError):  # its dummy inputs will not do: the first batch will
            graph = neural_graph(inner, topology, unknown)  # type: ignore[arg-type]
    if graph is not None:
        take_graph(nowcasting, graph)
        return

    @torch.compiler.disable
    def record_once(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        handle.remove()
        if nowcasting.graph is None:
            example = (tuple(args), dict(kwargs))
            take_graph(nowcasting, neural_graph(inner, topology, unknown, example=example))  # type: ignore[arg-type]

    handle = model.register_forward_pre_hook(record_once, with_kwargs=True)
    log.info("the neural graph of %s will be recorded in its next forward pass", type(inner).__name__)


def take_graph(nowcasting: Nowcasting, graph: NeuralGraph) -> None:
    """Check a graph against the model and the base optimizer, say in one line what it holds, and use it.

    Raises:
        ValueError: for a graph of another model, or one that none of the trained parameters lies on.
    """
    from nino.graphs.recorded.summarise import UNPLACED

    check_graph(graph, nowcasting.named)
    held = {id(p) for group in nowcasting.base.param_groups for p in group["params"]}
    places = zip(graph.parameters, nowcasting.named.values(), strict=True)
    trained = [place.name for place, p in places if p.requires_grad and id(p) in held]
    left = [name for name in trained if name in set(graph.carried)]
    if trained and len(left) == len(trained):
        reason = graph.reasons.get(left[0], UNPLACED)
        raise ValueError(
            f"none of the {len(trained)} trained parameters lies on the neural graph ({left[0]!r}: {reason}): nothing "
            f"can be nowcast; see docs/not-understood.md, or go on with the base optimizer alone (nowcaster=None)"
        )
    nowcasting.graph = graph
    line, *_ = graph.summary().splitlines()
    log.info("%s", line)
    if left:
        reasons = [f"{name} ({graph.reasons.get(name, UNPLACED)})" for name in left[:4]]
        more = f" and {len(left) - 4} more" if len(left) > 4 else ""
        log.warning("left to the base optimizer: %s%s", ", ".join(reasons), more)
