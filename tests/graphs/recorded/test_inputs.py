"""What people pass to a recording: wrapped and unusual models, odd inputs and outputs, and what cannot be recorded."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from nino import device
from nino.graphs import NeuralGraph, neural_graph
from nino.graphs.recorded import record_graph
from tests.graphs.recorded.networks import exact_cases

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


def perceptron() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


@pytest.fixture
def one_process() -> Iterator[None]:
    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)
        yield
        dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="this build of torch has no distributed support")
@pytest.mark.usefixtures("one_process")
def test_a_model_wrapped_by_ddp_has_the_graph_of_the_model_inside() -> None:
    model = perceptron()
    wrapped = nn.parallel.DistributedDataParallel(model)
    graph = neural_graph(wrapped, "exact", example=X)
    assert [p.name for p in graph.parameters] == [name for name, _ in wrapped.named_parameters()]
    assert [(b.source, b.target, b.weight) for b in graph.blocks] == [
        (b.source, b.target, b.weight) for b in record_graph(model, X).blocks
    ]


@dataclass
class Output:
    scores: Tensor
    hidden: Tensor


@dataclass(slots=True)
class Slotted:
    scores: Tensor
    hidden: Tensor


class Cyclic:
    """Refers to itself, and to what made it."""

    __slots__ = ("itself", "model", "values")

    def __init__(self, *values: Tensor) -> None:
        self.itself, self.model, self.values = {"self": self}, nn.Linear(1, 1), values


class Returns(nn.Module):
    """Scores and hidden neurons, in whatever a forward returns."""

    def __init__(self, how: object) -> None:
        super().__init__()
        self.a, self.b, self.how = nn.Linear(4, 8), nn.Linear(8, 2), how

    def forward(self, x: Tensor) -> object:
        hidden = torch.relu(self.a(x))
        return hidden if self.how is None else self.how(self.b(hidden), hidden)


@pytest.mark.parametrize(
    "how",
    [
        lambda scores, hidden: {"scores": scores, "rest": [hidden]},
        lambda scores, hidden: (scores, (hidden,)),
        Output,
        Slotted,
        Cyclic,
    ],
    ids=["dict", "nested tuple", "dataclass", "slots", "refers to itself"],
)
def test_whatever_is_returned_keeps_its_order(how: object) -> None:
    model = Returns(how)
    graph = neural_graph(model, "exact", example=X)
    assert not graph.carried
    assert {"a", "b"} <= graph.fixed  # both are returned
    checked = graph.verify(model, X)
    assert checked and not checked.renumbered and str(checked).startswith("nothing to renumber: ")
    inside = Returns(lambda scores, hidden: {"scores": scores})
    assert "a" not in neural_graph(inside, "exact", example=X).fixed


def test_a_forward_that_returns_no_tensor_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"Returns: the forward returns str, in which there is no tensor: .*return them"
    ):
        neural_graph(Returns(lambda scores, hidden: "done"), "exact", example=X)


class Shifted(Returns):
    """A constant tells the hidden neurons apart."""

    def __init__(self, how: object) -> None:
        super().__init__(how)
        self.register_buffer("shift", torch.arange(8.0))

    def forward(self, x: Tensor) -> object:
        return self.how(self.b(torch.relu(self.a(x) + self.shift)))


def test_a_wrong_graph_is_found_out_by_integers_and_not_finite_outputs() -> None:
    x = torch.cat([X] * 20) * torch.linspace(0.1, 3.0, 60)[:, None]  # some outputs are odd, some even

    def wrong(model: nn.Module) -> NeuralGraph:
        graph = neural_graph(model, "exact", example=x)
        assert graph.verify(model, x) and "a" in graph.fixed
        return replace(graph, fixed=graph.fixed - {"a"}, _cache={})

    torch.manual_seed(0)
    for how in (lambda y: (1e3 * y).long(), lambda y: ((1e3 * y).long() % 2).log()):
        model = Shifted(how)
        checked = wrong(model).verify(model, x)
        assert not checked and checked.changing == {("a",): float("inf")}


@pytest.mark.parametrize("how", [lambda y: (-y.exp()).log(), lambda y: y[:0]], ids=["NaN", "no element"])
def test_outputs_with_nothing_to_compare_verify_nothing(how: object) -> None:
    model = Shifted(how)
    graph = neural_graph(model, "exact", example=X)
    with pytest.raises(ValueError, match=r"Shifted: with this `example` the forward returns only NaN.* another"):
        graph.verify(model, X)


class Counting(nn.Module):
    """Control flow that depends on data, and a counter and statistics that the forward writes."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        x = torch.relu(self.norm(self.a(x)))
        for _ in range(int(x.argmax()) % 2 + 1):
            x = x * 0.5 if float(x.mean()) > 0 else x * 2
        return self.b(x)


def test_control_flow_that_depends_on_data_is_recorded_and_leaves_buffers_alone() -> None:
    model = Counting()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    graph = neural_graph(model, "exact", example=X)
    assert not graph.carried
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert graph.verify(model, X)


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(4, 8)

    def forward(self, x: Tensor, y: Tensor, *, scale: float) -> Tensor:
        return (self.a(x) * self.b(y)).sum(-1) * scale


def test_a_forward_that_needs_arguments_says_so_and_takes_them() -> None:
    with pytest.raises(ValueError, match=r"Two: its neural graph is recorded .* no input is known that it takes"):
        neural_graph(Two(), "exact")
    with pytest.raises(ValueError, match=r"Two: the forward does not run on `example` .*missing 1 required.*pass the "):
        neural_graph(Two(), "exact", example=X)
    whole = neural_graph(Two(), "exact", example=((X, X), {"scale": 2.0}))
    assert not whole.carried
    assert neural_graph(Two(), "exact", example={"x": X, "y": X, "scale": 2.0}).blocks == whole.blocks


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_precisions(dtype: torch.dtype) -> None:
    assert record_graph(perceptron().to(dtype), X.to(dtype)).blocks == record_graph(perceptron(), X).blocks


def test_models_on_the_meta_device_and_compiled_ones() -> None:
    with torch.device("meta"):
        meta = perceptron()
    assert record_graph(meta, X).blocks == record_graph(perceptron(), X).blocks
    compiled = torch.compile(perceptron())
    graph = neural_graph(compiled, "exact", example=X)
    assert [p.name for p in graph.parameters] == [name for name, _ in compiled.named_parameters()]


def test_a_model_on_the_meta_device_that_looks_at_values_is_to_be_materialised() -> None:
    with torch.device("meta"):
        model = Counting()
    with pytest.raises(ValueError, match=r"Counting: the forward looks at values .*meta device have none: materialise"):
        neural_graph(model, "exact", example=X)


def test_lazy_modules_are_recorded_after_their_first_pass() -> None:
    model = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(2))
    with pytest.raises(ValueError, match=r"parameter '0.weight' has no shape yet: run the model once"):
        neural_graph(model, "exact", example=X)
    model(X)
    assert record_graph(model, X).blocks == record_graph(perceptron(), X).blocks


@pytest.mark.filterwarnings("ignore:.*quantized tensor creation functions:UserWarning")
def test_quantised_parameters_are_refused_by_name() -> None:
    model = nn.Linear(3, 2)
    quantised = torch.quantize_per_tensor(model.weight.detach(), 0.1, 0, torch.qint8)
    model.weight = nn.Parameter(quantised, requires_grad=False)
    with pytest.raises(ValueError, match="parameter 'weight' is quantised: only real floating point"):
        neural_graph(model, "exact", example=torch.randn(2, 3))


class Rotating(nn.Module):
    """A complex weight: a parameter itself, as two real numbers, or a buffer."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.a, self.how = nn.Linear(4, 8), how
        w = torch.randn(8, 2, dtype=torch.cfloat)
        if how == "buffer":
            self.register_buffer("w", w)
        else:
            self.w = nn.Parameter(w if how == "complex" else torch.view_as_real(w), requires_grad=how != "complex")

    def forward(self, x: Tensor) -> Tensor:
        w = torch.view_as_complex(self.w) if self.how == "two real numbers" else self.w
        return (self.a(x).to(w.dtype) @ w).abs()


def test_a_complex_parameter_is_refused_with_what_helps() -> None:
    with pytest.raises(ValueError, match=r"'w' is complex .*view_as_complex in the forward.* trained, a buffer"):
        neural_graph(Rotating("complex"), "exact", example=X)
    for how in ("two real numbers", "buffer"):
        model = Rotating(how)
        graph = neural_graph(model, "exact", example=X)
        assert "a.weight" not in graph.carried and graph.verify(model, X)


def test_the_graph_of_a_part_that_the_example_does_not_reach_is_carried_with_the_reason() -> None:
    model = Returns(None)
    graph = neural_graph(model, "exact", example=X)
    assert graph.carried == ("b.weight", "b.bias")
    first, *rest = graph.summary().splitlines()
    assert first.startswith("neural graph (exact, recorded): ")
    assert first.endswith("69.0% of 58 parameters on edges, 2 of 4 tensors carried: 2 because no operation reads it")
    assert rest == [f"  carried: b.{n} {s}: no operation reads it" for n, s in (("weight", (2, 8)), ("bias", (2,)))]


def test_heads_change_places_where_the_graph_calls_them_alike() -> None:
    for name, count in (("attention by hand", 1), ("grouped queries", 2), ("rotary, relu squared", 1)):
        torch.manual_seed(0)
        model, example = exact_cases()[name]()
        checked = neural_graph(model, "exact", example=example).verify(model, example)
        assert checked
        graph = checked.graph
        from nino.graphs.symmetry.exchanges import exchanges

        found = exchanges(graph)
        assert len(found) == count
        for exchange in found:
            flat = torch.randn(graph.num_parameters)
            moved = exchange.applied(flat)
            assert not torch.equal(moved, flat) and torch.equal(exchange.applied(moved), flat)


class HeadsOfTheirOwn(nn.Module):
    """Attention whose second head's outputs are doubled by a number that is no parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(6, 24), nn.Linear(8, 3)
        self.factors = [1.0, 2.0]

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.unflatten(-1, (2, 4)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        y = (q @ k.transpose(-1, -2)).softmax(-1) @ v
        return self.out(torch.cat([head * f for head, f in zip(y.unbind(1), self.factors, strict=True)], -1))


def test_heads_that_are_treated_apart_do_not_change_places() -> None:
    model, example = HeadsOfTheirOwn(), torch.randn(2, 5, 6)
    graph = neural_graph(model, "exact", example=example)
    assert graph.verify(model, example)
    parts = {name for name in graph.fixed if name.startswith("part")}
    loose = replace(graph, fixed=graph.fixed - parts, _cache={})  # as if the two treatments had not been seen
    checked = loose.verify(model, example)
    assert not checked and len(checked.changing) == 1


class MixedPrecision(nn.Module):
    """Casts by itself, with an autocast that was made before any other was entered."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.cast = perceptron(), torch.autocast("cpu", torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        with self.cast:
            return self.net(x)


@pytest.mark.parametrize("make", [perceptron, MixedPrecision])
def test_a_recording_under_autocast_leaves_no_weights_in_its_cache(make: Callable[[], nn.Module]) -> None:
    model = make()
    with torch.autocast("cpu", torch.bfloat16):
        neural_graph(model, "exact", example=X)
        assert torch.is_autocast_cache_enabled()
        loss = model(X).float().pow(2).mean()
    assert type(loss) is Tensor
    loss.backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in list(model.parameters())[2:])


class Noisy(Counting):
    """Draws as it runs on real tensors, whose values it looks at."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + torch.rand_like(x))


def test_random_numbers_of_all_accelerators_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, fork = [], torch.random.fork_rng

    def fork_rng(devices: list[int], device_type: str) -> AbstractContextManager[None]:
        kept.append((devices, device_type))
        return fork(devices=[])

    two_gpus = SimpleNamespace(
        device=torch.device,
        accelerator=SimpleNamespace(device_count=lambda: 2),
        get_device_module=lambda place: SimpleNamespace(is_initialized=lambda: True),
        random=SimpleNamespace(fork_rng=fork_rng),
    )
    monkeypatch.setattr(device, "default_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(device, "torch", two_gpus)
    model = Noisy()
    before = torch.get_rng_state()
    graph = record_graph(model, X)
    recorded = len(kept)
    assert graph.verify(model, X)
    assert len(kept) > recorded > 0 and all(args == ([0, 1], "cuda") for args in kept)
    assert torch.equal(torch.get_rng_state(), before)
