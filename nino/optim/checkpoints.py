"""Checkpoints of a run, mapped into memory: torch files, safetensors, Hugging Face folders, whole or sharded."""

from __future__ import annotations

import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from nino.files import replacing

TORCH = (".pt", ".pth", ".bin", ".ckpt")
SAFETENSORS = ".safetensors"
# What Hugging Face calls a model's weights, in the order in which it looks for them.
HUB_FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
# What training scripts call the model's state dict inside theirs; an average beside it is not what is trained.
PARTS = ((), ("model",), ("model_state_dict",), ("state_dict",), ("module",), ("net",), ("network",))
WRAPPERS = ("", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.")


def numbered(directory: Path, pattern: str | None = None) -> list[tuple[int, Path]]:
    """A run's checkpoints by step, the last number of their names: files, or folders that hold a model.

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
    found: dict[str, list[tuple[int, Path]]] = {}
    for path in sorted(directory.glob(pattern or "*")):
        number = re.search(r"\d+(?=\D*$)", path.name if path.is_dir() else path.stem)
        wanted = path.is_dir() or path.suffix in (*TORCH, SAFETENSORS)
        if number is None or not wanted or path.name.startswith("."):
            continue
        kind = path.name[: number.start()] + "*" + path.name[number.end() :]
        found.setdefault(kind, []).append((int(number.group()), path))
    if not found:
        raise FileNotFoundError(
            f"no checkpoints in {directory}{f' match {pattern!r}' if pattern else ''}: looked for names that end in a "
            f"step number, such as checkpoint-200 (a folder) or step_200 with {', '.join((*TORCH, SAFETENSORS))}"
        )
    if len(found) > 1:
        raise ValueError(f"{directory} holds several kinds of names, {', '.join(sorted(found))}: pass one as `pattern`")
    (entries,) = found.values()
    entries.sort()
    for (step, path), (after, other) in zip(entries, entries[1:], strict=False):
        if step == after:
            raise ValueError(f"{path} and {other} have the same step {step}: move one away, or pass `pattern`")
    return entries


@dataclass
class WeightFile:
    """One mapped file.

    Args:
        path: where it lies.
        content: what it holds; a dict of tensors, for torch files also anything around it.
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

    def parts(self) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
        """The dicts of tensors in the file, with the keys that lead to them."""
        if isinstance(self.content, dict):
            tensors = {k: v for k, v in self.content.items() if isinstance(v, Tensor)}
            yield (), tensors
            for key, value in self.content.items():
                if isinstance(value, dict) and value and all(isinstance(v, Tensor) for v in value.values()):
                    yield (key,), value

    def save(self, path: Path, changed: Mapping[tuple[str, ...], Tensor]) -> None:
        """Write the file with some tensors changed, in its own format.

        Args:
            path: where to.
            changed: new tensors by the keys that lead to them.
        """
        if self.path.suffix == SAFETENSORS:
            tensors = {name: changed.get((name,), tensor).contiguous() for name, tensor in self.content.items()}
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
    """A tensor in a weight file.

    Args:
        file: which file.
        keys: keys that lead to it.
        tensor: mapped values.
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
            ValueError: for a folder without a model, a missing shard or a file that is not whole; names it.
        """
        files = [path] if path.is_file() else _folder_files(path)
        return cls(path, step, [WeightFile.open(file) for file in files])

    def locate(self, names: Mapping[str, list[str]]) -> dict[str, list[Copy]]:
        """Where each parameter lies.

        Args:
            names: parameter -> all names it goes by (tied weights have several).

        Returns:
            parameter -> its copies, one for each name it has there.

        Raises:
            ValueError: if a parameter is nowhere; names it.
        """
        parts = [(file, keys, tensors) for file in self.files for keys, tensors in file.parts()]
        parts.sort(key=lambda part: PARTS.index(part[1]) if part[1] in PARTS else len(PARTS))
        first: dict[str, Copy] = {}
        for file, keys, tensors in parts:
            for name, tensor in tensors.items():
                first.setdefault(name, Copy(file, (*keys, name), tensor))
        found: dict[str, list[Copy]] = {}
        for wrapper in WRAPPERS:
            for name, aliases in names.items():
                if copies := [first[wrapper + alias] for alias in aliases if wrapper + alias in first]:
                    found[name] = copies
            if found:
                break
        if missing := [name for name in names if name not in found]:
            raise ValueError(
                f"{self.path} lacks parameter {missing[0]!r} ({len(missing)} of {len(names)} are missing): "
                f"it is of another model, or half-written"
            )
        return found

    def require_same_tensors(self, other: Checkpoint) -> None:
        """Refuse a checkpoint that does not hold the same tensors, by name and shape.

        Raises:
            ValueError: names both checkpoints and the first tensor that differs.
        """
        own, others = self._shapes(), other._shapes()
        for keys in [*own, *others]:
            if own.get(keys) != others.get(keys):
                raise ValueError(
                    f"{self.path} and {other.path} are of different models: tensor {'.'.join(keys)!r} has shape "
                    f"{own.get(keys, 'nothing')} in the first and {others.get(keys, 'nothing')} in the second"
                )

    def _shapes(self) -> dict[tuple[str, ...], tuple[int, ...]]:
        parts = [part for file in self.files for part in file.parts()]
        return {(*keys, name): tuple(tensor.shape) for keys, tensors in parts for name, tensor in tensors.items()}


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
        if missing := [shard for shard in shards if not (folder / shard).is_file()]:
            raise ValueError(f"{folder} is half-written: it lacks {missing[0]}, which {name} names")
        return [folder / shard for shard in shards]
    raise ValueError(f"{folder} is half-written, or no checkpoint: it holds none of {', '.join(HUB_FILES)}")


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give a folder beside ``path`` and rename it to ``path`` once the block ends without an error.

    Args:
        path: the folder to write; must not exist.

    Yields:
        The folder to write into; removed if the block raises.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    temporary.mkdir()
    try:
        yield temporary
        os.rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_like(checkpoint: Checkpoint, out: Path, changed: Mapping[Path, Mapping[tuple[str, ...], Tensor]]) -> None:
    """Write a checkpoint in the format of another, with some tensors changed and all else (optimizer, tokenizer) kept.

    Args:
        checkpoint: what to write like.
        out: file or folder, at once or not at all.
        changed: weight file -> keys -> new tensor.
    """
    if checkpoint.path.is_file():
        with replacing(out) as temporary:
            checkpoint.files[0].save(temporary, changed[checkpoint.path])
        return
    weights = {file.path.name for file in checkpoint.files}
    with replacing_folder(out) as temporary:
        shutil.copytree(
            checkpoint.path, temporary, dirs_exist_ok=True, ignore=lambda d, names: weights.intersection(names)
        )
        for file in checkpoint.files:
            file.save(temporary / file.path.name, changed.get(file.path, {}))
