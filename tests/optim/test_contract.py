"""The contract of base optimizers: kept by those that recipes name, and each part of it noticed when broken."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from nino.optim.contract import violations
from nino.specs import RecipeSpec
from nino.specs.recipe import AroundSpec
from nino.tasks import build_optimizer

KEEPS = {
    "adam": {},
    "sgd": {},
    "muon": {},
    "schedulefree:AdamWScheduleFree": {"options": {"warmup_steps": 3}},
    "pytorch_optimizer:SOAP": {},
    "torch.optim:RMSprop": {"options": {"alpha": 0.9}},
    "pytorch_optimizer:Lion": {"weight_decay": 0.1},
    "adamw": {"around": AroundSpec("pytorch_optimizer:Lookahead", {"k": 5})},
}


def of_recipe(optimizer: str, **more):
    return lambda model: build_optimizer(RecipeSpec(optimizer, 1e-2, 100, 16, **more), model)


@pytest.mark.parametrize("name", KEEPS)
def test_optimizers_that_recipes_name_keep_it(name) -> None:
    assert violations(of_recipe(name, **KEEPS[name])) == []


class Adam(torch.optim.Adam):
    def __init__(self, params):
        super().__init__(params, lr=1e-2)


class Forgetful(Adam):
    def load_state_dict(self, state_dict):
        for group in state_dict["param_groups"]:
            group["lr"] = 1e-3
        super().load_state_dict(state_dict)


class Drawing(Adam):
    def step(self, closure=None):
        super().step()
        for p in self.param_groups[0]["params"]:
            p.data += 1e-3 * torch.randn_like(p)


class Climbing(Adam):
    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            if p.grad is not None:
                p.grad.neg_()
        super().step()


class Anchored(Adam):
    """Keeps the weights out of sight, in NumPy, and writes them back before each of its own steps."""

    def step(self, closure=None):
        params = self.param_groups[0]["params"]
        if hasattr(self, "_flat"):
            nn.utils.vector_to_parameters(torch.from_numpy(self._flat), params)
        super().step()
        self._flat = nn.utils.parameters_to_vector(params).detach().numpy().copy()


class Partial(Adam):
    def __init__(self, params):
        super().__init__([[*params][0]])


class Halfway(Adam):
    def eval(self):
        pass


BREAKS = {
    Forgetful: "resumes: loaded from its state after 13 steps it is .* away after 26",
    Drawing: "repeatable: draws from torch's global generator",
    Climbing: "lowers: 26 steps took a quadratic loss from",
    Anchored: "keeps_jumps: 5 steps after a jump .* of it are left",
    Partial: "holds: its groups hold 1 parameters, not each of the network's 4",
    Halfway: r"measured: has one of `train\(\)` and `eval\(\)`",
}


@pytest.mark.parametrize("kind", BREAKS, ids=lambda kind: kind.__name__)
def test_what_breaks_it_is_said(kind) -> None:
    found = violations(lambda model: kind(model.parameters()))
    assert any(re.match(BREAKS[kind], sentence) for sentence in found), found


def test_what_raises_is_a_finding() -> None:
    def make(model):
        raise RuntimeError("no")

    assert violations(make)[0] == "holds: raised RuntimeError: no"
