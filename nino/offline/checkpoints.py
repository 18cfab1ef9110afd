"""Checkpoints of a training: finding them, mapping their weights into memory, and writing another one like them.

Formats are torch files, safetensors, and Hugging Face folders, whole or sharded.
"""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from nino.files import SUMS, replacing, replacing_folder, require_sums, write_sums

TORCH = (".pt", ".pth", ".bin", ".ckpt")
SAFETENSORS = ".safetensors"
# Names of a model's weights in a Hugging Face folder, in the order in which that library looks for them.
HUB_FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
# Keys under which training scripts store the model's state dict, the likeliest first. What lies under any other key,
# such as a moving average, is read only where none of these holds the parameters.
PARTS = ((), ("model",), ("model_state_dict",), ("state_dict",), ("module",), ("net",), ("network",))
# What DDP and torch.compile put before a parameter's name.
WRAPPERS = ("", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.")


def numbered(directory: Path, pattern: str | None = None) -> list[tuple[int, Path]]:
    """Find a run's checkpoints, files or folders, and order them by the last number in their names, the step.

    Args:
        directory: the run's folder.
        pattern: shell pattern that names must match; None takes all, if they differ in nothing but the number.

    Returns:
        (step, path), ascending.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if names are of several kinds, or two have the same step.
    """
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory} is not a folder: pass the folder that holds the run's checkpoints")
    by_kind: dict[str, list[tuple[int, Path]]] = {}
    for path in sorted(directory.glob(pattern or "*")):
        number = _number(path)
        may_hold_weights = path.is_dir() or path.suffix in (*TORCH, SAFETENSORS)
        if number is None or not may_hold_weights or path.name.startswith("."):
            continue
        kind = path.name[: number.start()] + "*" + path.name[number.end() :]
        by_kind.setdefault(kind, []).append((int(number.group()), path))
    if not by_kind:
        raise FileNotFoundError(
            f"no checkpoints in {directory}{f' match {pattern!r}' if pattern else ''}: looked for names that end in a "
            f"step number, such as checkpoint-200 (a folder) or step_200 with {', '.join((*TORCH, SAFETENSORS))}"
        )
    if len(by_kind) > 1:
        raise ValueError(
            f"{directory} holds several kinds of names, {', '.join(sorted(by_kind))}: pass one as `pattern`"
        )
    (entries,) = by_kind.values()
    entries.sort()
    for (step, path), (after, other) in pairwise(entries):
        if step == after:
            raise ValueError(f"{path} and {other} have the same step {step}: move one away, or pass `pattern`")
    return entries


def step_of(path: Path) -> int | None:
    """The last number in a checkpoint's name, None where it has none.

    >>> step_of(Path("step_200.pt")), step_of(Path("ckpt.pt"))
    (200, None)
    """
    number = _number(path)
    return None if number is None else int(number.group())


def _number(path: Path) -> re.Match[str] | None:
    return re.search(r"\d+(?=\D*$)", path.name if path.is_dir() else path.stem)


@dataclass
class WeightFile:
    """A file of weights, mapped into memory.

    Args:
        path: where it lies.
        content: what it holds: tensors by name, or for torch files any nesting of dicts and plain values around them.
        metadata: of a safetensors file.
    """

    path: Path
    content: Any
    metadata: dict[str, str] | None = None

    @classmethod
    def open(cls, path: Path) -> WeightFile:
        """Map a file; no values are read, and no code in it is run.

        Raises:
            ValueError: for a file that is not whole, or holds more than tensors and plain values.
        """
        try:
            if path.suffix == SAFETENSORS:
                with safe_open(path, framework="pt") as file:
                    names = list(file.keys())
                    return cls(path, {name: file.get_tensor(name) for name in names}, file.metadata() or {})
            mapped = zipfile.is_zipfile(path)  # files of old formats can only be loaded whole
            return cls(path, torch.load(path, map_location="cpu", weights_only=True, mmap=mapped))
        except Exception as error:  # both readers have errors of many types for files that are cut short or foreign
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(
                f"{path} cannot be read ({reason}): half-written, or not a checkpoint of tensors"
            ) from error

    def tensors(self) -> dict[tuple[str, ...], Tensor]:
        """Every tensor in the file that lies at its top or in a dict of nothing but tensors, by the keys to it."""
        content = self.content if isinstance(self.content, dict) else {}
        tensors: dict[tuple[str, ...], Tensor] = {(k,): v for k, v in content.items() if isinstance(v, Tensor)}
        for key, value in content.items():
            if isinstance(value, dict) and all(isinstance(v, Tensor) for v in value.values()):
                tensors |= {(key, name): tensor for name, tensor in value.items()}
        return tensors

    def save(self, path: Path, changed: Mapping[tuple[str, ...], Tensor]) -> None:
        """Write the file with some tensors changed, in its own format.

        Args:
            path: where to.
            changed: new tensors by the keys that lead to them.
        """
        if self.path.suffix == SAFETENSORS:
            tensors: dict[str, Tensor] = {}
            places: set[int] = set()
            for name, tensor in self.content.items():
                new = changed.get((name,), tensor).contiguous()
                # The names of a tied weight share one tensor, which this format has to hold once for each.
                tensors[name] = new.clone() if new.data_ptr() in places else new
                places.add(new.data_ptr())
            save_file(tensors, path, metadata=self.metadata or None)
            return
        content = dict(self.content)
        for *outer, name in changed:
            if outer:
                content[outer[0]] = {**content[outer[0]], name: changed[(*outer, name)]}
            else:
                content[name] = changed[(name,)]
        torch.save(content, path)


@dataclass(frozen=True)
class Copy:
    """One place in a checkpoint where a parameter's values lie.

    Args:
        file: which file.
        keys: that lead to the tensor in it.
        tensor: its values, mapped into memory.
    """

    file: WeightFile
    keys: tuple[str, ...]
    tensor: Tensor


@dataclass
class Checkpoint:
    """One saved state of a model.

    Args:
        path: file or folder.
        step: from its name.
        files: its weight files.
    """

    path: Path
    step: int
    files: list[WeightFile]

    @classmethod
    def open(cls, path: Path, step: int) -> Checkpoint:
        """Map a checkpoint's weights.

        Raises:
            ValueError: for a folder without a model, a missing shard, a file that is not whole or not what the
                folder's ``SHA256SUMS`` lists; names it.
        """
        files = [path] if path.is_file() else _folder_files(path)
        require_sums(path, [] if path.is_file() else files)
        return cls(path, step, [WeightFile.open(file) for file in files])

    def locate(self, names: Mapping[str, list[str]]) -> dict[str, list[Copy]]:
        """Find a model's parameters in the checkpoint.

        Args:
            names: all names that a parameter goes by (tied weights have several), by parameter.

        Returns:
            By parameter, one copy for each of its names that the checkpoint holds.

        Raises:
            ValueError: for a parameter that the checkpoint lacks; names it.
        """
        copies = [Copy(file, keys, tensor) for file in self.files for keys, tensor in file.tensors().items()]
        copies.sort(key=lambda copy: PARTS.index(copy.keys[:-1]) if copy.keys[:-1] in PARTS else len(PARTS))
        by_name = {copy.keys[-1]: copy for copy in reversed(copies)}  # the likeliest of several wins
        places: dict[str, list[Copy]] = {}
        for wrapper in WRAPPERS:
            for name, aliases in names.items():
                if there := [by_name[wrapper + alias] for alias in aliases if wrapper + alias in by_name]:
                    places[name] = there
            if places:
                break
        if missing := [name for name in names if name not in places]:
            raise ValueError(
                f"{self.path} lacks parameter {missing[0]!r} ({len(missing)} of {len(names)} are missing): "
                f"it is of another model, or half-written"
            )
        return places

    def require_same_tensors(self, other: Checkpoint) -> None:
        """Refuse a checkpoint that does not hold the same tensors, by name and shape.

        Raises:
            ValueError: names both checkpoints and the first tensor that differs.
        """
        here, there = (
            {keys: tuple(tensor.shape) for file in checkpoint.files for keys, tensor in file.tensors().items()}
            for checkpoint in (self, other)
        )
        for keys in [*here, *there]:
            if here.get(keys) != there.get(keys):
                raise ValueError(
                    f"{self.path} and {other.path} are of different models: tensor {'.'.join(keys)!r} has shape "
                    f"{here.get(keys, 'nothing')} in the first and {there.get(keys, 'nothing')} in the second"
                )


def _folder_files(folder: Path) -> list[Path]:
    """The weight files of a Hugging Face folder."""
    for name in HUB_FILES:
        path = folder / name
        if not path.is_file():
            continue
        if not name.endswith(".index.json"):
            return [path]
        try:
            shards = sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
        except (json.JSONDecodeError, KeyError, AttributeError) as error:
            raise ValueError(f"{path} is half-written, or no index of shards: it has no 'weight_map'") from error
        if outside := [shard for shard in shards if Path(shard).name != shard]:
            raise ValueError(f"{path} names {outside[0]!r}, which is no file of this folder: it is not read")
        if missing := [shard for shard in shards if not (folder / shard).is_file()]:
            raise ValueError(f"{folder} is half-written: it lacks {missing[0]}, which {name} names")
        return [folder / shard for shard in shards]
    raise ValueError(f"{folder} is half-written, or no checkpoint: it holds none of {', '.join(HUB_FILES)}")


def write_like(checkpoint: Checkpoint, out: Path, changed: Mapping[Path, Mapping[tuple[str, ...], Tensor]]) -> None:
    """Write a copy of a checkpoint with some tensors changed; all else in it (optimizer, tokenizer) stays the same.

    Args:
        checkpoint: to copy.
        out: file or folder to write, whole or not at all.
        changed: new tensors, by weight file and by the keys that lead to them.
    """
    if checkpoint.path.is_file():
        with replacing(out) as temporary:
            checkpoint.files[0].save(temporary, changed.get(checkpoint.path, {}))
        return
    weights = {file.path.name for file in checkpoint.files}
    with replacing_folder(out) as temporary:
        shutil.copytree(
            checkpoint.path, temporary, dirs_exist_ok=True, ignore=lambda d, names: weights.intersection(names)
        )
        for file in checkpoint.files:
            file.save(temporary / file.path.name, changed.get(file.path, {}))
        if (temporary / SUMS).exists():
            write_sums(temporary)
