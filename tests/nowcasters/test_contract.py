"""The contract, on every nowcaster there is, and on classes that break it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nino.config.load import load
from nino.evaluate.user_class import build_user_nowcaster
from nino.graphs import neural_graph
from nino.nowcasters import KINDS, NOWCASTERS, Divided, NiNoNet, Nowcaster, Pointwise, SampledEdges
from nino.nowcasters.contract import violations
from nino.specs import Reference
from tests.nowcasters.helpers import MODELS, lively

ROOT = Path(__file__).parents[2]


def configured() -> dict[str, Callable[[], Nowcaster]]:
    """Every class of somebody's own that a config of this repository names."""
    found = {}
    for overlay in sorted((ROOT / "workflow" / "configs").glob("*.yaml")):
        methods = load([overlay], ROOT / "config.yaml")["evaluate"]["methods"]
        for name, entry in methods.items():
            if entry and Reference.parse(entry["nowcaster"]):
                options = entry.get("options", {})
                found[f"{overlay.stem}:{name}"] = lambda e=entry, o=options: build_user_nowcaster(
                    e["nowcaster"], 0, **o
                )
    return found


def network(kind: str) -> Nowcaster:
    """Weights that show in the prediction, small enough that far horizons stay finite."""
    sizes = {} if kind == "wnn" else {"hidden": 16}
    return lively(KINDS[kind](**sizes))  # type: ignore[arg-type, return-value]


EVERY: dict[str, Callable[[], Nowcaster]] = {
    **NOWCASTERS,
    **{kind: lambda kind=kind: network(kind) for kind in KINDS},  # type: ignore[misc]
    "as it is": lambda: lively(NiNoNet(hidden=8, lpe=0, scaled=False)),  # type: ignore[return-value]
    "some edges": lambda: SampledEdges(lively(NiNoNet(hidden=8)), 0.3),  # type: ignore[arg-type]
    "parts": lambda: Divided(lively(NiNoNet(hidden=8)), "layer"),  # type: ignore[arg-type]
    **configured(),
}


@pytest.mark.parametrize("name", EVERY)
def test_every_nowcaster_keeps_the_contract(name: str) -> None:
    assert violations(EVERY[name]) == []


@pytest.mark.parametrize("name", EVERY)
def test_also_on_a_transformer(name: str) -> None:
    assert violations(EVERY[name], {"GPT-2": neural_graph(MODELS["tiny_gpt2"]())}) == []


class Line(Pointwise):
    """Keeps the contract; each class below breaks it in one way."""

    context = None

    def update(self, states: Tensor, k: int, parameter: Any) -> Tensor:
        return k * (states[:, -1] - states[:, -2])


class Unchecked(Nowcaster):
    context = None

    def predict(self, graph: Any, states: Tensor, k: int, **options: Any) -> Tensor:
        return states[:, -1].float()


class Wrong(Line):
    def predict(self, *args: Any, **options: Any) -> Tensor:
        return super().predict(*args, **options)[:, None]


class Forgetful(Line):
    def update(self, states: Tensor, k: int, parameter: Any) -> Tensor:
        return torch.randn(len(states))


class Remembers(Line):
    calls = 0

    def update(self, states: Tensor, k: int, parameter: Any) -> Tensor:
        self.calls += 1
        return super().update(states, k, parameter) * self.calls


class Divides(Line):
    def update(self, states: Tensor, k: int, parameter: Any) -> Tensor:
        last = states[:, -1] - states[:, -2]
        return last**2 / last


class Writes(Line):
    def predict(self, graph: Any, states: Tensor, k: int, **options: Any) -> Tensor:
        out = super().predict(graph, states, k, **options)
        states += 1
        return out


class Ordered(Line):
    def update(self, states: Tensor, k: int, parameter: Any) -> Tensor:
        return super().update(states, k, parameter) * torch.arange(len(states))


class Hungry(Line):
    def update(self, states: Tensor, k: int, parameter: Any) -> Tensor:
        return (states[:, -1:] * torch.ones(64)).mean(dim=1) * 0 + super().update(states, k, parameter)

    def predict(self, graph: Any, states: Any, k: int, **options: Any) -> Tensor:
        torch.zeros(graph.num_parameters, 64)
        return super().predict(graph, states, k, **options)


class Raises(Line):
    def update(self, states: Tensor, k: int, parameter: Any) -> Tensor:
        raise KeyError("weights")


def test_the_class_that_the_broken_ones_derive_from_is_not_broken() -> None:
    assert violations(Line) == []


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (Unchecked, "refusals: takes k = 0"),
        (Unchecked, "refusals: takes NaN in the states"),
        (Wrong, "form: predicts (268, 1)"),
        (Forgetful, "pure: draws from torch's global generator"),
        (Forgetful, "repeatable: one built alike predicts otherwise"),
        (Remembers, "repeatable: another prediction in between"),
        (Divides, "bounded: not finite for parameters that stand still"),
        (Writes, "pure: changes the states"),
        (Ordered, "equivariant: permuting hidden neurons"),
        (Hungry, "frugal: a temporary of 64 numbers a parameter"),
        (Raises, "form: raised KeyError: 'weights'"),
    ],
)
def test_what_breaks_the_contract_is_named(broken: type[Nowcaster], check: str) -> None:
    assert any(check in sentence for sentence in violations(broken))
