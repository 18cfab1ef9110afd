"""The wrapper's neural graph: declared, or recorded in the first forward pass of the training."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from torch import nn

from nino.graphs.weights import some
from nino.optim.checks import check_graph
from nino.optim.surroundings import outside_graphs

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
    nowcasting.to_record = (topology, unknown)
    record_in_next_pass(nowcasting, inner, model)
    log.info("the neural graph of %s will be recorded in its next forward pass", type(inner).__name__)


def record_in_next_pass(nowcasting: Nowcasting, inner: nn.Module, model: nn.Module) -> None:
    """Have the graph recorded in the next forward pass of a model.

    Args:
        nowcasting: what is to nowcast; its graph is set then.
        inner: the model without wrappers.
        model: the model, or a wrapper around it.
    """
    model.register_forward_pre_hook(RecordOnce(nowcasting, inner), with_kwargs=True)


class RecordOnce:
    """A hook that records the graph before a forward pass, once, and removes itself.

    A copy of it, also an unpickled one, only removes itself: a copy of a model has nothing to do with the optimizer,
    and an optimizer that is copied with its model hooks its own copy (``NowcastSteps.__setstate__``).

    Args:
        nowcasting: what is to nowcast; None for a copy.
        inner: the model without wrappers.
    """

    def __init__(self, nowcasting: Nowcasting | None = None, inner: nn.Module | None = None) -> None:
        """See the class."""
        self.nowcasting, self.inner = nowcasting, inner

    @outside_graphs
    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Record, where that is still to be done."""
        hooks = module._forward_pre_hooks
        for number in [number for number, hook in hooks.items() if hook is self]:
            del hooks[number]
            module._forward_pre_hooks_with_kwargs.pop(number, None)
        nowcasting = self.nowcasting
        if nowcasting is not None and nowcasting.graph is None and nowcasting.to_record is not None:
            from nino.graphs import neural_graph

            assert self.inner is not None
            topology, unknown = nowcasting.to_record
            example = (tuple(args), dict(kwargs))
            graph = neural_graph(self.inner, topology, unknown, example=example)  # type: ignore[arg-type]
            take_graph(nowcasting, graph)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy without anything to record."""
        return RecordOnce, ()


def take_graph(nowcasting: Nowcasting, graph: NeuralGraph) -> None:
    """Check a graph against the model and the base optimizer, say in one line what it holds, and use it.

    Raises:
        ValueError: for a graph of another model, or one that none of the trained parameters lies on.
    """
    from nino.graphs.structure import UNPLACED, UNREAD

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
    unread = [name for name in left if graph.reasons.get(name) == UNREAD]
    if unread:
        log.warning(
            "%s: the forward pass that was recorded did not use them (experts that it did not reach?); the base "
            "optimizer alone trains them: pass graph=neural_graph(model, example=...) with inputs that reach them all",
            some(unread, 4),
        )
    rest = [name for name in left if name not in set(unread)]
    if rest:
        reasons = [f"{name} ({graph.reasons.get(name, UNPLACED)})" for name in rest[:4]]
        more = f" and {len(rest) - 4} more" if len(rest) > 4 else ""
        log.warning("left to the base optimizer: %s%s", ", ".join(reasons), more)
