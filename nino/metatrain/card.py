"""The model card of a fitted nowcaster, made from its files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import nn

from nino.markdown import code, table
from nino.nowcasters import load_nowcaster

TITLES = {"nino": "NiNo", "wnn+": "WNN+"}


def model_card(path: Path) -> str:
    """Describe a fitted nowcaster in Markdown: what it is, what it was fitted to and how well, how to use it.

    Args:
        path: ``best.safetensors`` or ``last.safetensors`` of a fit; ``validation.csv`` is read beside it.

    Returns:
        Markdown with the front matter of a model card of Hugging Face's hub, the same for the same files.

    Raises:
        FileNotFoundError: where one of the files is missing.
        ValueError: for a file that holds no nowcaster, or one that no fit of this package has written.
    """
    net = load_nowcaster(path)
    about = _about(path)
    kind, fitted = about["nino"]["kind"], sorted(about["trajectories"])
    sections = [
        f"---\nlibrary_name: nino\ntags: [weight-nowcasting, {kind}]\n---",
        f"# {TITLES.get(kind, kind)} fitted to {', '.join(fitted)}",
        "Predicts the parameters of a network in training from its last states, so that training takes fewer steps.",
        table(("what", "value"), _contents(net, about)),
        "## Validation",
        "Mean absolute error of the predictions in scaled units, over networks that were held out and all horizons, "
        "against predicting no change.",
        table(
            ("task", "error", "no change", "less, %"), _validation(path.parent / "validation.csv", about["iteration"])
        ),
        "## Fitted to",
        table(("task", "networks", "held out", "model", "recipe", "checksum of the data"), _networks(about)),
        "Tasks, architectures and optimizers other than these it has not seen.",
        "## Use",
        "```python\n"
        "import torch\n"
        "from nino import NiNo\n\n"
        f'optimizer = NiNo(torch.optim.AdamW(model.parameters()), "{path.name}", model, max_train_steps=10_000)\n'
        "```",
        "## Provenance",
        table(("what", "value"), _provenance(about)),
    ]
    return "\n\n".join(sections) + "\n"


def _about(path: Path) -> dict[str, Any]:
    if path.suffix != ".safetensors":
        raise ValueError(f"{path} is not of a fit: give best.safetensors or last.safetensors of `nino metatrain`")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    missing = {"metatrain", "trajectories", "networks", "iteration"} - set(metadata)
    if missing:
        raise ValueError(
            f"{path} is not of a fit: its metadata lacks {sorted(missing)[0]!r}, which `nino metatrain` writes"
        )
    return {key: _value(text) for key, text in metadata.items()}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _contents(net: Any, about: dict[str, Any]) -> list[tuple[object, ...]]:
    spec, sizes = about["metatrain"], about["nino"]["config"]
    count = sum(p.numel() for p in net.parameters()) if isinstance(net, nn.Module) else 0
    strides = spec["window_stride"]
    stride = strides if isinstance(strides, int) else " or ".join(str(each) for each in strides)
    return [
        ("kind", TITLES.get(spec["kind"], spec["kind"])),
        ("parameters", f"{count:,}"),
        ("sizes", code(sizes)),
        ("reads", f"{net.context} states, {stride} steps apart"),
        ("predicts", f"up to {net.max_horizon} states of {stride} steps ahead"),
        ("neural graphs", spec["topology"]),
        ("scaling of states", spec["scaling"]),
        ("iterations", f"{about['iteration']} of {spec['iterations']}"),
    ]


def _validation(path: Path, iteration: int) -> list[tuple[object, ...]]:
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}: a fit leaves it beside its weights; copy it there, or fit again")
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if int(row["iteration"]) == int(iteration)]
    losses = [(row["task"], float(row["loss"]), float(row["identity_loss"])) for row in rows]
    return [(task, f"{loss:.4f}", f"{still:.4f}", f"{100 * (1 - loss / still):.1f}") for task, loss, still in losses]


def _networks(about: dict[str, Any]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for task, source in sorted(about["trajectories"].items()):
        count, spec = about["networks"][task], source["task"]
        rows.append(
            (
                task,
                count["fitted_to"],
                count["held_out"],
                code(spec["model"]),
                code(spec["recipe"]),
                f"`{source['data_checksum'][:16]}`",
            )
        )
    return rows


def _provenance(about: dict[str, Any]) -> list[tuple[object, ...]]:
    git, versions = about.get("git") or {}, about.get("versions") or {}
    commit = f"`{git.get('commit')}`" + (" and uncommitted changes" if git.get("dirty") else "")
    return [
        ("recipe", code(about["metatrain"])),
        ("commit", commit),
        ("versions", ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))),
        ("hardware", code(about.get("hardware") or {})),
    ]
