"""What every nowcaster must do, as checks on small networks; the tests and ``nino check`` run them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from nino.contracts import attempt
from nino.graphs import NeuralGraph, neural_graph
from nino.nowcasters.base import Nowcaster

Make = Callable[[], Nowcaster]
LARGEST = 16  # numbers that the largest temporary may hold for each parameter: states and features, not hidden states
HIDDEN = 24  # neurons of the small networks' hidden layer
STATES = 5  # given to a nowcaster that reads any number of them (``context`` None)


def violations(make: Make, graphs: dict[str, NeuralGraph] | None = None) -> list[str]:
    """Check that a nowcaster does what ``Nowcaster`` promises.

    Args:
        make: builds the nowcaster, the same one every time.
        graphs: networks to try it on, by name; default a small perceptron and a small ConvNet.

    Returns:
        A sentence per violation: the network, the check and what it saw; empty if there is none.
    """
    sentences = []
    for network, graph in (small_graphs() if graphs is None else graphs).items():
        for check in (_form, _repeatable, _pure, _layouts, _bounded, _refusals):
            sentences += [f"{network}: {sentence}" for sentence in attempt(check, make, graph)]
    sentences += [f"perceptron: {sentence}" for sentence in attempt(_equivariant, make, perceptron(6, HIDDEN, 4))]
    wide = perceptron(64, 1600, 64)
    return sentences + [f"wide perceptron: {sentence}" for sentence in attempt(_frugal, make, wide)]


def small_graphs() -> dict[str, NeuralGraph]:
    """A perceptron and a ConvNet of a few hundred parameters."""
    conv = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 5),
    )
    return {"perceptron": perceptron(6, HIDDEN, 4), "ConvNet": neural_graph(conv)}


def perceptron(inputs: int, hidden: int, outputs: int) -> NeuralGraph:
    """The graph of two linear layers; parameters ``0.weight``, ``0.bias``, ``2.weight``, ``2.bias``."""
    return neural_graph(nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs)))


def history(parameters: int, states: int, seed: int = 0) -> Float[Tensor, "params states"]:
    """Parameters on noisy lines, oldest state first."""
    draw = torch.Generator().manual_seed(seed)
    start, slope, noise = (torch.randn(parameters, n, generator=draw) for n in (1, 1, states))
    return start + 0.05 * slope * torch.arange(states) + 0.02 * noise


def horizons(nowcaster: Nowcaster) -> list[int]:
    """A near and a far horizon that the nowcaster can predict."""
    if nowcaster.fixed_horizon is not None:
        return [nowcaster.fixed_horizon]
    return sorted({1, min(40, nowcaster.max_horizon or 40)})


def _states(nowcaster: Nowcaster, graph: NeuralGraph, seed: int = 0) -> Tensor:
    return history(graph.num_parameters, nowcaster.context or STATES, seed)


def _form(make: Make, graph: NeuralGraph) -> Iterator[str]:
    """The prediction has one finite float32 number a parameter, at every horizon."""
    nowcaster = make()
    states = _states(nowcaster, graph)
    for k in horizons(nowcaster):
        out = nowcaster.predict(graph, states, k)
        if tuple(out.shape) != (graph.num_parameters,) or out.dtype != torch.float32:
            yield f"form: predicts {tuple(out.shape)} {out.dtype}, not ({graph.num_parameters},) torch.float32"
        elif out.requires_grad:
            yield "form: the prediction carries a gradient graph"
        elif not out.isfinite().all():
            yield f"form: not finite at k = {k}"


def _repeatable(make: Make, graph: NeuralGraph) -> Iterator[str]:
    """Equal states give equal bytes, also after another prediction and from a second nowcaster built alike."""
    nowcaster = make()
    states = _states(nowcaster, graph)
    near, far = horizons(nowcaster)[0], horizons(nowcaster)[-1]
    first = nowcaster.predict(graph, states, far).clone()
    nowcaster.predict(graph, _states(nowcaster, graph, seed=1), near)
    if not torch.equal(first, nowcaster.predict(graph, states, far)):
        yield "repeatable: another prediction in between changes the result"
    torch.manual_seed(1)
    if not torch.equal(first, make().predict(graph, states, far)):
        yield "repeatable: one built alike predicts otherwise; draw from a generator seeded by the constructor"


def _pure(make: Make, graph: NeuralGraph) -> Iterator[str]:
    """States, weights and the global random generator stay as they were."""
    nowcaster = make()
    states = _states(nowcaster, graph)
    before, generator = states.clone(), torch.get_rng_state()
    weights = {name: value.clone() for name, value in _weights(nowcaster).items()}
    nowcaster.predict(graph, states, horizons(nowcaster)[-1])
    if not torch.equal(states, before):
        yield "pure: changes the states that it is given"
    if any(not torch.equal(value, weights[name]) for name, value in _weights(nowcaster).items()):
        yield "pure: changes its own weights"
    if not torch.equal(generator, torch.get_rng_state()):
        yield "pure: draws from torch's global generator"


def _layouts(make: Make, graph: NeuralGraph) -> Iterator[str]:
    """Strides and precision of the states make no difference but rounding."""
    nowcaster = make()
    states, k = _states(nowcaster, graph), horizons(nowcaster)[0]
    reference = nowcaster.predict(graph, states, k)
    strided = states.T.contiguous().T
    if _distance(nowcaster.predict(graph, strided, k), reference, states) > 1e-4:
        yield "layouts: states of other strides give another prediction"
    for dtype in (torch.float64, torch.bfloat16):
        out = nowcaster.predict(graph, states.to(dtype), k)
        if out.dtype != torch.float32 or not out.isfinite().all():
            yield f"layouts: states of {dtype} give {out.dtype}, finite: {bool(out.isfinite().all())}"


def _bounded(make: Make, graph: NeuralGraph) -> Iterator[str]:
    """Finite where the parameters stand still, are tiny or large."""
    nowcaster = make()
    states = _states(nowcaster, graph)
    still = states[:, :1].expand_as(states)
    for name, given in {"that stand still": still, "of 1e-8": 1e-8 * states, "of 1e+4": 1e4 * states}.items():
        if not nowcaster.predict(graph, given, horizons(nowcaster)[-1]).isfinite().all():
            yield f"bounded: not finite for parameters {name}"


def _refusals(make: Make, graph: NeuralGraph) -> Iterator[str]:
    """A ``ValueError`` for k = 0 and beyond the end, for other networks' states and for states that are not finite."""
    nowcaster = make()
    states, k = _states(nowcaster, graph), horizons(nowcaster)[0]
    broken = states.clone()
    broken[graph.num_parameters // 2, -1] = float("nan")
    cases: dict[str, tuple[Tensor, int]] = {
        "k = 0": (states, 0),
        "too few parameters": (states[1:], k),
        "a single state": (states[:, :1], k),
        "NaN in the states": (broken, k),
    }
    if nowcaster.max_horizon is not None:
        cases[f"k = {nowcaster.max_horizon + 1}"] = (states, nowcaster.max_horizon + 1)
    for name, (given, horizon) in cases.items():
        try:
            nowcaster.predict(graph, given, horizon)
        except ValueError:
            continue
        yield f"refusals: takes {name}; call `self.check` and `require_finite`"


def _equivariant(make: Make, graph: NeuralGraph) -> Iterator[str]:
    """Permuting the hidden neurons permutes the prediction alike, where the nowcaster claims it."""
    nowcaster = make()
    if not nowcaster.equivariant:
        return
    draw = torch.Generator().manual_seed(0)
    order = torch.randperm(HIDDEN, generator=draw)
    states, k = _states(nowcaster, graph), horizons(nowcaster)[-1]
    lpe = torch.randn(graph.num_nodes, 8, generator=draw)
    hidden = next(block.target for block in graph.blocks if block.name == "0.weight").slice
    moved_lpe = lpe.clone()
    moved_lpe[hidden] = lpe[hidden][order]

    def move(flat: Tensor) -> Tensor:
        out = flat.clone()
        for p in graph.parameters:
            whole = flat[p.slice].view(*p.shape, -1)
            if p.name.startswith("0."):
                out[p.slice] = whole[order].reshape(p.numel, -1)
            elif p.name == "2.weight":
                out[p.slice] = whole[:, order].reshape(p.numel, -1)
        return out

    moved_prediction = move(nowcaster.predict(graph, states, k, lpe=lpe)[:, None])[:, 0]
    prediction_of_moved = nowcaster.predict(graph, move(states), k, lpe=moved_lpe)
    if _distance(prediction_of_moved, moved_prediction, move(states)) > 1e-3:
        yield "equivariant: permuting hidden neurons changes the prediction; if meant to, say `equivariant = False`"


def _frugal(make: Make, graph: NeuralGraph) -> Iterator[str]:
    """No temporary holds more than a few numbers a parameter, so that large models fit."""
    nowcaster = make()
    states = _states(nowcaster, graph)
    largest = _Largest()
    lpe = torch.zeros(graph.num_nodes, 8)
    with largest:
        nowcaster.predict(graph, states, horizons(nowcaster)[0], lpe=lpe)
    if (held := largest.numbers / graph.num_parameters) > LARGEST:
        yield f"frugal: a temporary of {held:.0f} numbers a parameter, at most {LARGEST} are allowed: go block by block"


class _Largest(TorchDispatchMode):
    """Watches every tensor that is made, and remembers the size of the largest."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor):
                size = tensor.untyped_storage().nbytes() // tensor.element_size()
                self.numbers = max(self.numbers, size)
        return out


def _weights(nowcaster: Nowcaster) -> dict[str, Tensor]:
    return nowcaster.state_dict() if isinstance(nowcaster, nn.Module) else {}


def _distance(
    prediction: Float[Tensor, " params"], reference: Float[Tensor, " params"], states: Float[Tensor, "params states"]
) -> float:
    """Largest difference of two predictions, relative to the size of the update."""
    size = (reference - states[:, -1]).abs().max().clamp(min=1e-6)
    return float((prediction - reference).abs().max() / size)
