"""Copies of the weights are found in whatever form an optimizer keeps them."""

from __future__ import annotations

from collections import deque

import pytest
import torch

from tests.optim.test_copies import Twin


class Own(torch.optim.Optimizer):
    """Keeps copies in a form of its own, which ``keep`` makes, and computes the weights from them."""

    def __init__(self, params, lr=1e-2):
        super().__init__(params, {"lr": lr})
        self.params, self.steps = self.param_groups[0]["params"], 0
        self.keep()

    def keep(self):
        pass

    @torch.no_grad()
    def step(self, closure=None):
        self.steps += 1
        for p in self.params:
            p.add_(p.grad, alpha=-1e-2)
        self.look_back()


class Past(Own):
    """A queue of past weights in the state, whose mean is mixed in."""

    def look_back(self):
        for p in self.params:
            past = self.state[p].setdefault("past", deque(maxlen=3))
            if past:
                p.lerp_(torch.stack(list(past)).mean(0), 0.4)
            past.append(p.clone())


class Anchor(Own):
    """A flattened anchor in the state, which pulls a little at each step."""

    def look_back(self):
        for p in self.params:
            p.lerp_(self.state[p].setdefault("anchor", p.flatten().clone()).view_as(p), 0.1)


class Slow(Own):
    """Lookahead, synchronised in the third step after the jump; the slow weights lie in a list."""

    of = list

    def keep(self):
        self.slow = self.of(p.detach().clone() for p in self.params)

    def pairs(self):
        return zip(self.params, self.slow, strict=True)

    def look_back(self):
        if self.steps % 5 == 2:
            for p, slow in self.pairs():
                slow.lerp_(p, 0.5)
                p.copy_(slow)


class SlowTuple(Slow):
    of = tuple


class SlowByParameter(Slow):
    def keep(self):
        self.slow = {"inner": {p: {"weights": p.detach().clone(), "rate": torch.ones(())} for p in self.params}}

    def pairs(self):
        return [(p, entry["weights"]) for p, entry in self.slow["inner"].items()]


class SlowFlat(Slow):
    def keep(self):
        self.slow = torch.cat([p.detach().flatten() for p in self.params])

    def pairs(self):
        parts = self.slow.split([p.numel() for p in self.params])
        return [(p, part.view_as(p)) for p, part in zip(self.params, parts, strict=True)]


class SlowSnapshots(Slow):
    def keep(self):
        self.slow = [[p.detach().clone() for p in self.params] for _ in range(2)]

    def pairs(self):
        means = [torch.stack(pair) for pair in zip(*self.slow, strict=True)]
        self.slow = [[m[1] for m in means], [p.detach().clone() for p in self.params]]
        return [(p, m.mean(0)) for p, m in zip(self.params, means, strict=True)]


@pytest.mark.parametrize("make", [Past, Anchor, Slow, SlowTuple, SlowByParameter, SlowFlat, SlowSnapshots])
def test_copies_in_any_list_or_flat_tensor_go_with_the_jump(tools, make):
    jumped, plain = (Twin(tools, make, jump) for jump in (True, False))
    difference = jumped.run(17).flat() - plain.run(17).flat()
    torch.testing.assert_close(difference, torch.ones_like(difference), atol=1e-4, rtol=0)
    assert jumped.opt.counts == {"kept": 1, "put back": 0, "left out": 0}
