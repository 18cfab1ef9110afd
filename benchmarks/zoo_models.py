"""The models of the zoo: how each is built, and an input that it takes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nino.tasks.torchvision_ops import declare_missing_operators

Built = tuple[nn.Module, Any]


@dataclass(frozen=True, slots=True)
class Model:
    """A model of the zoo.

    Args:
        kind: what it is counted with.
        name: unique in its library.
        build: makes the network and an example input.
    """

    kind: str
    name: str
    build: Callable[[], Built]


class NotSmallError(Exception):
    """A model that could not be made small enough to be run here."""


def images(side: int, channels: int = 3) -> Tensor:
    """Two random images."""
    return torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(0))


def drawn(example: dict[str, Any]) -> dict[str, Any]:
    """An input with random numbers in the place of zeros."""
    generator = torch.Generator().manual_seed(0)
    return {
        k: torch.randn(x.shape, generator=generator) if isinstance(x, Tensor) and x.is_floating_point() else x
        for k, x in example.items()
    }


# -- torchvision -------------------------------------------------------------------------------------------------------


def torchvision_models() -> Iterator[Model]:
    """All of torchvision's models, at their own sizes."""
    declare_missing_operators()
    import torchvision.models as tv

    for name in tv.list_models():
        if name.startswith("quantized_"):
            continue
        yield Model(_kind(name), name, partial(torchvision_model, name))


def _kind(name: str) -> str:
    """What a model of torchvision is for."""
    import torchvision.models as tv

    part = tv.get_model_builder(name).__module__.removeprefix("torchvision.models.").partition(".")[0]
    return part if part in ("segmentation", "detection", "video", "optical_flow") else "classification"


def torchvision_model(name: str) -> Built:
    """A model of torchvision by name, and two images, or whatever it takes."""
    import torchvision.models as tv

    kind = _kind(name)
    extra: dict[str, Any] = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    if kind in ("segmentation", "detection"):
        extra = {"weights_backbone": None}
    if kind == "detection" and "ssd" not in name:
        extra |= {"min_size": 128, "max_size": 160}
        if "rcnn" in name:
            extra |= {f"rpn_{when}_nms_top_n_{mode}": 40 for when in ("pre", "post") for mode in ("train", "test")}
    model = tv.get_model(name, weights=None, **extra)
    if kind == "detection":
        _python_nms()
        return model, detection_batch("keypoint" in name)
    if kind == "optical_flow":
        return model, (images(128), images(128))
    if kind == "video":
        side = 224 if "mvit" in name or name == "s3d" else 112
        return model, torch.randn(1, 3, 16, side, side)
    if kind == "segmentation":
        return model, images(96)
    return model, images(getattr(model, "image_size", 224 if "maxvit" in name else 299 if "inception" in name else 64))


def detection_batch(keypoints: bool) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Two images, and what is to be found on them."""
    target = {"boxes": torch.tensor([[20.0, 20, 90, 80], [40, 30, 120, 110]]), "labels": torch.tensor([1, 1])}
    target["masks"] = torch.ones(2, 128, 160, dtype=torch.uint8)
    if keypoints:
        target["keypoints"] = torch.tensor([[[40.0, 40.0, 1.0]] * 17, [[60.0, 50.0, 1.0]] * 17])
    return [images(160)[0, :, :128], images(160)[1, :, :128]], [target, dict(target)]


def _python_nms() -> None:
    """Non-maximum suppression where torchvision's compiled operators do not load."""
    from torchvision import extension
    from torchvision.ops import boxes

    def nms(corners: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
        x0, y0, x1, y1 = corners.detach().numpy().T
        order, kept, area = np.argsort(-scores.detach().numpy()), [], (x1 - x0) * (y1 - y0)
        while order.size:
            first, order = order[0], order[1:]
            kept.append(first)
            width = np.minimum(x1[first], x1[order]) - np.maximum(x0[first], x0[order])
            height = np.minimum(y1[first], y1[order]) - np.maximum(y0[first], y0[order])
            inter = width.clip(0) * height.clip(0)
            order = order[inter <= iou_threshold * (area[first] + area[order] - inter)]
        return torch.tensor(kept, dtype=torch.long)

    if not extension._has_ops():
        boxes.nms = nms


# -- timm --------------------------------------------------------------------------------------------------------------


def timm_models() -> Iterator[Model]:
    """The smallest model of each of timm's modules."""
    if importlib.util.find_spec("timm") is None:
        return
    declare_missing_operators()
    import timm

    for module in timm.list_modules():
        if names := timm.list_models(module=module):
            yield Model("family", module, partial(_timm, names))


def _timm(names: list[str]) -> Built:
    """The model of a family with the fewest parameters (of twelve at most)."""
    import timm

    marks = ("atto", "femto", "pico", "tiny", "nano", "xxs", "xs", "small", "_s", "18", "26")
    names = sorted(names, key=lambda n: min((i for i, mark in enumerate(marks) if mark in n), default=99))[:12]
    sizes = {}
    for name in names:
        with torch.device("meta"):
            try:
                sizes[name] = sum(p.numel() for p in timm.create_model(name, num_classes=10).parameters())
            except Exception:  # not on the meta device
                continue
    name = min(sizes, key=lambda n: sizes[n]) if sizes else names[0]
    model = timm.create_model(name, num_classes=10).eval()
    for example in (images(96), images(model.default_cfg["input_size"][-1])):
        with suppress(Exception), torch.no_grad():  # fixed sizes, patches that do not fit
            model(example)
            return model, example
    return model, example


def transformers_models() -> Iterator[Model]:
    """A tiny model of each of transformers' model types."""
    from benchmarks.zoo_configs import transformers_models

    yield from transformers_models()


def families() -> Iterator[Model]:
    """Small versions of the families that must work."""
    declare_missing_operators()
    from benchmarks.zoo_configs import tiny
    from benchmarks.zoo_families import families

    tiny("llama")  # imports what most need, before processes are forked
    yield from families()


LIBRARIES: dict[str, Callable[[], Iterator[Model]]] = {
    "torchvision": torchvision_models,
    "timm": timm_models,
    "transformers": transformers_models,
    "families": families,
}
