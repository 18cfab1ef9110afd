"""Measuring what nowcasts cost a training: peak memory, seconds per nowcast, share of the training time.

The nowcasters have random weights, on which their cost does not depend. With given weights, approximated nowcasts are
also compared with the exact one.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from nino.l2o import L2O, L2ONet
from nino.measure import PeakMemory, elapsed, wall_clock
from nino.nowcasters import Nowcaster, approximated, build_nowcaster, load_nowcaster
from nino.optim import NiNo
from nino.optim.nowcast_record import NowcastRecord
from nino.specs import OverheadSpec
from nino.tasks import MODELS as ARCHITECTURES
from nino.tasks import Data

CONTEXT = 5
REPEATS = 8  # timed nowcasts or steps; the first, in which a nowcast computes positions, is reported apart
COMPARED = 4  # number of the nowcast at which approximations are compared
HORIZON = 40  # of that nowcast [states]
_GPT2, _LLAMA3 = 50_257, 128_256


@dataclass(frozen=True)
class Model:
    """A language model to be trained.

    Args:
        architecture: a key of ``nino.tasks.MODELS``.
        options: its options.
        vocabulary: its tokens.
    """

    architecture: str
    options: dict[str, int]
    vocabulary: int


MODELS = {
    "gpt2-1-8": Model("gpt2", {"layers": 1, "width": 8, "heads": 2}, 101),  # for tests
    "gpt2-3-64": Model("gpt2", {"layers": 3, "width": 64, "heads": 4}, _GPT2),
    "gpt2-6-384": Model("gpt2", {"layers": 6, "width": 384, "heads": 6}, _GPT2),
    "llama-6-384": Model("llama", {"layers": 6, "width": 384, "heads": 6, "kv_heads": 2, "inner": 1536}, _LLAMA3),
}
METHODS = {
    "adam": "Adam",
    "wnn+": "WNN+",
    "nino": "NiNo",
    "nino-20-percent": "NiNo, 20 % of the edges",
    "nino-5-percent": "NiNo, 5 % of the edges",
    "nino-blocks": "NiNo, block by block",
    "l2o": "L2O",
}
APPROXIMATIONS: dict[str, dict[str, Any]] = {
    "nino-20-percent": {"edges": 0.2},
    "nino-5-percent": {"edges": 0.05},
    "nino-blocks": {"subgraphs": "block"},
}


@dataclass(frozen=True)
class Cost:
    """A row of the table.

    Args:
        model: a key of ``MODELS``.
        method: a key of ``METHODS``.
        parameters: of the model.
        device: where it was measured.
        step_seconds: median of the base steps.
        seconds: of a step (Adam, L2O), or of a nowcast, positions computed already (median of the repeats).
        first_seconds: of the first nowcast, which computes them.
        step_bytes: peak memory of base steps, above what the process had before the model.
        peak_bytes: the same while nowcasting; of the steps for Adam and L2O.
        difference: of an approximated nowcast from the exact one, as a share of the change that it predicts (norms).
        spread: least and most seconds of the repeats that ``seconds`` is the median of.
    """

    model: str
    method: str
    parameters: int
    device: str
    step_seconds: float
    seconds: float
    first_seconds: float | None
    step_bytes: int
    peak_bytes: int
    difference: float | None = None
    spread: tuple[float, float] = (math.nan, math.nan)

    def share(self, period: int, adam_seconds: float = math.nan) -> float:
        """Percent that the method adds to the seconds of training, with a nowcast every ``period`` steps.

        Args:
            period: steps.
            adam_seconds: of a step of Adam, which a learned optimizer's is held against.
        """
        if self.first_seconds is not None:
            return 100 * self.seconds / (period * self.step_seconds)
        return 0.0 if self.method == "adam" else 100 * (self.seconds / adam_seconds - 1)


def measure(spec: OverheadSpec, model: str, method: str, device: str) -> Cost:
    """Train for a few steps, every fifth of which is a nowcast if the method makes nowcasts.

    A method is timed ``REPEATS`` times: its nowcasts, or its steps where it has none.

    Args:
        spec: batch and its parts, length, precision and hidden size.
        model: a key of ``MODELS``.
        method: a key of ``METHODS``.
        device: where to.

    Returns:
        What it cost.
    """
    torch.manual_seed(0)
    memory = PeakMemory(device)
    network = build(model, spec.tokens).to(device)
    optimizer: Any = torch.optim.AdamW(network.parameters(), lr=1e-4)
    if method == "l2o":
        optimizer = L2O(network.parameters(), L2ONet(spec.hidden).to(device))
    elif method != "adam":
        nowcaster = _nowcaster(spec, method)
        steps = CONTEXT * (REPEATS + 1)
        published: Any = {"context": CONTEXT, "still": "predict", "verbose": False}
        optimizer = NiNo(optimizer, None, network, CONTEXT, steps, nowcaster=nowcaster, **published)
    tokens = torch.randint(MODELS[model].vocabulary, (spec.batch, spec.tokens + 1), device=device)
    seconds: dict[bool, list[float]] = {False: [], True: []}
    peaks = {False: 0, True: 0}

    def step() -> None:
        if getattr(optimizer, "need_grads", True):
            _gradient(network, tokens, spec, device)
        optimizer.step()

    apart = None
    for taken in range((CONTEXT if isinstance(optimizer, NiNo) else 1) * REPEATS):
        if taken == CONTEXT * (COMPARED - 1) and spec.nowcaster and method in APPROXIMATIONS:
            apart = _difference(spec, optimizer, step)
        nowcast = not getattr(optimizer, "need_grads", True)
        memory.reset()
        seconds[nowcast].append(elapsed(step, device, wall_clock))
        peaks[nowcast] = max(peaks[nowcast], memory.peak())
    base = statistics.median(seconds[False][1:])
    repeats = seconds[bool(seconds[True])][1:]
    count = sum(p.numel() for p in network.parameters())
    first = seconds[True][0] if seconds[True] else None
    peak = peaks[bool(seconds[True])]
    spread = min(repeats), max(repeats)
    later = statistics.median(repeats)
    return Cost(model, method, count, device, base, later, first, peaks[False], peak, apart, spread)


def _nowcaster(spec: OverheadSpec, method: str) -> Nowcaster:
    if method == "wnn+":
        return build_nowcaster("wnn+", hidden=spec.hidden)
    exact = load_nowcaster(spec.nowcaster) if spec.nowcaster else build_nowcaster("nino", hidden=spec.hidden)
    return approximated(exact, **APPROXIMATIONS.get(method, {}))


def _difference(spec: OverheadSpec, optimizer: NiNo, step: Callable[[], None]) -> float:
    """Train on to one more nowcast, and compare it there with the exact one."""
    differences: list[float] = []

    def compare(opt: NiNo, _: NowcastRecord) -> None:
        assert opt.nowcaster is not None and opt.graph is not None
        states = opt.history.states()
        exact = _nowcaster(spec, "nino")
        assert isinstance(exact, nn.Module)
        expected = exact.to(next(iter(opt.named.values())).device).predict(opt.graph, states, HORIZON)
        apart = opt.nowcaster.predict(opt.graph, states, HORIZON) - expected
        differences.append(float(apart.norm() / (expected - states[:, -1]).norm()))

    hook = optimizer.register_nowcast_pre_hook(compare)
    for _ in range(CONTEXT):
        step()
    hook.remove()
    return differences[0]


def build(model: str, tokens: int) -> nn.Module:
    """A model with random weights and a context of ``tokens``."""
    chosen = MODELS[model]
    unread: Any = None  # a builder looks at the shapes alone
    data = Data("language", unread, unread, unread, (tokens,), chosen.vocabulary, "")
    return ARCHITECTURES[chosen.architecture](data, chosen.options)


def _gradient(network: nn.Module, tokens: torch.Tensor, spec: OverheadSpec, device: str) -> None:
    network.zero_grad()
    for part in tokens.chunk(spec.accumulate):
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=spec.precision == "bfloat16"):
            scores = network(part[:, :-1]).logits
        loss = F.cross_entropy(scores.float().flatten(0, 1), part[:, 1:].flatten())
        (loss / spec.accumulate).backward()
