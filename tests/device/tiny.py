"""Tiny tasks, networks and files that stages work on, and how their numbers are compared."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nino.nowcasters import build_nowcaster, save_nowcaster
from nino.specs import (
    DataSpec,
    EvaluationSpec,
    MetatrainSpec,
    ModelSpec,
    RecipeSpec,
    ScheduleSpec,
    TargetSpec,
    TaskSpec,
)
from nino.tasks import Task
from nino.tasks.data import Blocks, Data, image_data

CPU = torch.device("cpu")
STEPS, PERIOD = 10, 5
IMAGES = TaskSpec(
    "images",
    DataSpec("-"),
    ModelSpec("convnet", {"channels": [4, 4]}),
    RecipeSpec("adam", 1e-2, STEPS, 16),
    TargetSpec("accuracy", 99.0),
    EvaluationSpec(test_every=5, validation_every=5, hardest_first=True),
)
TOKENS = TaskSpec(
    "tokens",
    DataSpec("-"),
    ModelSpec("gpt2", {"layers": 1, "width": 8, "heads": 2, "dropout": 0.1}),
    RecipeSpec("adamw", 1e-2, STEPS, 8, weight_decay=1e-2),
    TargetSpec("perplexity", 1.0),
    EvaluationSpec(test_every=5, validation_every=5),
)
SCHEDULE = ScheduleSpec(period=PERIOD, context=5, max_horizon=3)
FIT = MetatrainSpec(
    kind="nino", seed=1, iterations=3, model={"hidden": 8, "layers": 2}, trajectories_per_batch=2,
    windows_per_trajectory=2, window_stride=1, context=4, max_horizon=3, words=10, validate_every=3, checkpoint_every=2,
)  # fmt: skip


def images(place: torch.device) -> Task:
    """Bright and dark corners of random images."""
    generator = torch.Generator("cpu").manual_seed(0)

    def split(count: int) -> tuple[Tensor, Tensor]:
        labels = torch.arange(count) % 4
        pictures = torch.randint(100, (count, 1, 8, 8), generator=generator)
        for i, label in enumerate(labels.tolist()):
            pictures[i, :, label // 2 * 4 :, label % 2 * 4 :] += 100
        return pictures.to(torch.uint8), labels

    return Task(IMAGES, image_data(split(64), split(64), split(128), 4, {}), place)


def tokens(place: torch.device) -> Task:
    """Blocks of tokens that count upwards from a random one."""
    starts = torch.randint(32, (64, 1), generator=torch.Generator("cpu").manual_seed(0))
    blocks = Blocks(((starts + torch.arange(9)) % 32).to(torch.uint8))
    return Task(TOKENS, Data("language", blocks, blocks, blocks, (8,), 32, "counting"), place)


def same(found: Any, wanted: Any, place: torch.device, loosely: float = 1e-3, pretend: float = 0.0) -> None:
    """Raise where numbers on a device are not the CPU's.

    Args:
        found: on the device.
        wanted: on the CPU.
        place: the device.
        loosely: on a device that rounds otherwise than the CPU, the largest norm of the difference, as a share of that
            of what is wanted; element by element, Adam may turn rounding into a whole step.
        pretend: tolerance on the device that pretends; 0 but where more is computed at once than on a CPU, which
            changes the order of a sum.
    """
    ours, theirs = _array(found), _array(wanted)
    if place.type == "pretend":
        np.testing.assert_allclose(ours, theirs, rtol=pretend, atol=pretend, equal_nan=True)
        return
    there = np.isfinite(theirs)
    np.testing.assert_equal(np.isfinite(ours), there)
    apart = np.linalg.norm(ours[there] - theirs[there]) / max(np.linalg.norm(theirs[there]), 1e-12)
    assert apart <= loosely, f"{apart:.3g} of the CPU's norm apart, allowed is {loosely}"


def _array(values: Any) -> np.ndarray[Any, Any]:
    return values.detach().cpu().double().numpy() if isinstance(values, Tensor) else np.asarray(values, dtype=float)


def flat(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def rows(path: Path, *leave: str) -> list[list[float]]:
    """The numbers of a table, without seconds and the columns named."""
    with path.open(newline="") as file:
        table = [{k: v for k, v in row.items() if "second" not in k and k not in leave} for row in csv.DictReader(file)]
    return [[float(value or "nan") for value in row.values()] for row in table]


def small_net(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(8, 4),
        )  # fmt: skip


def nowcaster_file(folder: Path, kind: str = "nino") -> Path:
    """A small network with random weights."""
    path = folder / f"{kind}.safetensors"
    if not path.exists():
        net = build_nowcaster(kind, seed=3, hidden=8)
        generator = torch.Generator("cpu").manual_seed(0)
        with torch.no_grad():
            for p in net.parameters():
                p.add_(0.05 * torch.randn(p.shape, generator=generator))
        save_nowcaster(net, path)
    return path
