"""Nowcasters from files: the released checkpoints, our own, and known names downloaded once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from nino.files import require_whole_archive
from nino.nowcasters.base import Nowcaster
from nino.nowcasters.download import KNOWN, fetch, require_published
from nino.nowcasters.mlp import WNNPlus
from nino.nowcasters.nino import NiNoNet
from nino.nowcasters.weight_file import read_weights, write_weights
from nino.nowcasters.wnn import WNN

FORMAT = 1
KINDS: dict[str, type[NiNoNet] | type[WNNPlus] | type[WNN]] = {"nino": NiNoNet, "wnn+": WNNPlus, "wnn": WNN}
N = TypeVar("N", bound=nn.Module)
_WNN_PART = re.compile("conv|fc|bias", re.IGNORECASE)


def build_nowcaster(kind: str, **options: Any) -> NiNoNet | WNNPlus:
    """A freshly initialised network for meta-training.

    Args:
        kind: ``nino`` or ``wnn+``.
        **options: arguments of ``NiNoNet`` or ``WNNPlus``.

    Raises:
        ValueError: for another kind.
    """
    if kind == "nino":
        return NiNoNet(**options)
    if kind == "wnn+":
        return WNNPlus(**options)
    raise ValueError(f"`kind` (={kind!r}) must be 'nino' or 'wnn+'")


def load_nowcaster(path_or_name: str | Path, map_location: str | torch.device = "cpu") -> Nowcaster:
    """Load a nowcaster, in evaluation mode.

    Args:
        path_or_name: a file (ours: .safetensors, released: .pt, read with ``weights_only``), for WNN any of its three
            files (the others lie beside it); or a known name, with or without .pt, see ``KNOWN``: downloaded to the
            user's cache once and checked against its SHA-256.
        map_location: device of the weights, and so of the computation.

    Returns:
        The nowcaster, its sizes as the file has them.

    Raises:
        FileNotFoundError: neither a file nor a known name.
        ConnectionError: a known name that cannot be downloaded; says where to put the file.
        ValueError: a truncated, damaged or foreign file, one that has the name of a published file and other bytes, or
            tensors that do not fit together; names the file and the reason.
    """
    path = Path(path_or_name)
    if not path.is_file():
        name = str(path_or_name).removesuffix(".pt")
        if name not in KNOWN:
            raise FileNotFoundError(
                f"no file {path}, and no known nowcaster of this name: known are {', '.join(KNOWN)}"
            )
        path = fetch(name)
    net = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    return net.to(map_location).eval().requires_grad_(True)


def save_nowcaster(net: NiNoNet | WNNPlus | WNN, path: str | Path, extra: Mapping[str, str] | None = None) -> None:
    """Save a nowcaster as safetensors, its kind and sizes in the metadata, with a digest, at once or not at all.

    Args:
        net: what to save.
        path: file to write.
        extra: further metadata (strings), such as how it was trained.

    Raises:
        ValueError: if ``extra`` uses the key ``nino`` or ``sha256``.
    """
    write_weights(Path(path), net, {"format": FORMAT, "kind": net.kind, "config": net.config}, extra)


def _read_safetensors(path: Path) -> NiNoNet | WNNPlus | WNN:
    """One of our own files."""
    file = read_weights(path)
    about = file.about
    if not about:
        raise ValueError(f"{path} is not a nowcaster: its metadata lacks the key 'nino' that save_nowcaster writes")
    if about.get("format") != FORMAT or about.get("kind") not in KINDS:
        raise ValueError(
            f"{path}: format {about.get('format')!r} of kind {about.get('kind')!r} is not known here; known are "
            f"format {FORMAT} of kind {', '.join(KINDS)}: a newer version of nino may have written it"
        )
    try:
        net = KINDS[about["kind"]](**about["config"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: no {about['kind']} has the sizes that it names ({error})") from error
    return _fill(net, file.tensors, path)


def _read_pickle(path: Path) -> NiNoNet | WNNPlus | WNN:
    """A released file, its sizes read off its tensors."""
    loaded = _unpickle(path)
    state = loaded.get("state_dict", loaded)
    if "dense.linear.weight" in state:
        return _read_wnn(path)
    arguments = loaded.get("model_args") or {}
    sizes = _sizes(state, arguments, path)
    if "hid" in arguments and arguments["hid"] != sizes["hidden"]:
        raise ValueError(f"{path} says hidden size {arguments['hid']}, but its tensors have {sizes['hidden']}")
    net = WNNPlus(**sizes) if "edge_mlp.fc.0.weight" in state else NiNoNet(**sizes)
    return _fill(net, state, path)


def _unpickle(path: Path) -> dict[str, Any]:
    """The dictionary in a .pt file, without running any code that the file may hold."""
    require_published(path)
    try:
        require_whole_archive(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle and end-of-file errors of many types: all mean that it cannot be read
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} cannot be read as a checkpoint of plain tensors ({reason})") from error
    if not isinstance(loaded, dict):
        raise ValueError(f"{path} holds a {type(loaded).__name__}, not a dictionary of tensors")
    return loaded


def _sizes(state: Mapping[str, Tensor], arguments: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Constructor arguments from a released state dict."""
    try:
        types, hidden = state["layer_embed.weight"].shape
        inputs = state["edge_proj.fc.0.weight"].shape[1]
        if "edge_mlp.fc.6.weight" in state:
            horizons = state["edge_mlp.fc.6.weight"].shape[0]
            return {"hidden": hidden, "context": inputs, "max_horizon": horizons, "edge_types": types}
        features = int(arguments.get("max_feat_size", 9))
        words = state["wte_pos_enc_layer.weight"].shape[0] - 1 if "wte_pos_enc_layer.weight" in state else 0
        return {
            "hidden": hidden,
            "layers": len({name.split(".")[2] for name in state if name.startswith("gnn.convs.")}),
            "context": inputs // features,
            "max_horizon": state["edge_out.fc.2.weight"].shape[0] // features,
            "max_features": features,
            "lpe": state["node_proj.fc.0.weight"].shape[1],
            "word_positions": words,
            "edge_types": types,
        }
    except KeyError as error:
        raise ValueError(f"{path} is not a NiNo, WNN+ or WNN checkpoint: it lacks {error}") from error


def _read_wnn(path: Path) -> WNN:
    """WNN from its three published files, of which ``path`` is one."""
    words = list(_WNN_PART.finditer(path.name))
    if not words:
        raise ValueError(f"{path}: the name of a WNN file must say which part it is: conv, fc or bias")
    start, stop = words[-1].span()
    tensors = {}
    for part, module in (("conv", "conv"), ("fc", "linear"), ("bias", "bias")):
        names = [path.name[:start] + word + path.name[stop:] for word in (part, part.upper(), part.title())]
        file = next((path.with_name(name) for name in names if path.with_name(name).is_file()), None)
        if file is None:
            raise FileNotFoundError(f"WNN is three files: {names[0]} must lie beside {path}")
        for name, tensor in _unpickle(file).items():
            if not name.endswith("_loss"):
                tensors[f"{module}.{name.replace('.linear.', '.')}"] = tensor
    return _fill(WNN(), tensors, path)


def _fill(net: N, tensors: Mapping[str, Tensor], path: Path) -> N:
    """Put tensors into a network, or say which one does not fit."""
    expected = {name: tuple(t.shape) for name, t in net.state_dict().items()}
    read = {name: tuple(t.shape) for name, t in tensors.items()}
    for name in sorted(expected.keys() | read.keys()):
        if expected.get(name) != read.get(name):
            raise ValueError(
                f"{path}: tensor {name!r} should have shape {expected.get(name, 'nothing')}, "
                f"found {read.get(name, 'nothing')}: the file does not hold one whole {type(net).__name__}"
            )
    net.load_state_dict(dict(tensors))
    return net
