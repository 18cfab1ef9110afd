"""What could move a vision task's accuracy: the same training on its images, and on variants of them.

``encoded again``: as JPEG files are. The images are moved by a few pixels first, so that blocks and halved colours fall
on other places; then they are encoded with the quality and subsampling of most JPEG files (75, 4:2:0) and moved back.
``halves``: normalised with mean and deviation 1/2 instead of the training images'. ``all``: trained on the images held
back for validation, too. Reported is the test accuracy, its mean over the second half of the steps.

    python -m benchmarks.data_variants --config workflow/configs/cpu.yaml --task c10-16 --data-dir FOLDER
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from nino.allocator import keep_freed_memory
from nino.config.load import load
from nino.config.resolve import resolve
from nino.files import write_json
from nino.provenance import git_commit
from nino.specs import TaskSpec
from nino.tasks import Task, load_task
from nino.tasks.archives import read_archive
from nino.tasks.task import default_data_dir
from nino.training import Training

QUALITY = 75
MOVE = (3, 5)  # pixels down and right: odd, and no multiple of a block
EVERY = 50  # steps between measurements


def encoded_again(images: Tensor) -> NDArray[np.uint8]:
    """(n, height, width, channels) of images (n, channels, height, width) uint8."""
    pixels = images.permute(0, 2, 3, 1).numpy()
    out = np.empty_like(pixels)
    for i, image in enumerate(tqdm(pixels, desc="encoding", unit="image")):
        file = io.BytesIO()
        moved = np.roll(image, MOVE, (0, 1))
        Image.fromarray(moved.squeeze()).save(file, "JPEG", quality=QUALITY, subsampling="4:2:0")
        back = np.asarray(Image.open(file)).reshape(image.shape)
        out[i] = np.roll(back, (-MOVE[0], -MOVE[1]), (0, 1))
    return out


def accuracy(task: Task, seed: int, steps: int) -> float:
    """Mean test accuracy over the second half of the steps."""
    training, found = Training(task, seed), []
    for step in tqdm(range(1, steps + 1), desc=f"seed {seed}", unit="step"):
        training.step()
        if step > steps // 2 and step % EVERY == 0:
            found.append(training.evaluate("test"))
    return statistics.mean(found)


def encoded(spec: TaskSpec, data_dir: Path, plain: Task) -> Task:
    """The task on its images encoded again."""
    path = data_dir / f"{spec.data.name}.npz"
    (x_train, y_train), (x_test, y_test) = read_archive(path, data_dir)
    train, test = encoded_again(x_train), encoded_again(x_test)
    with TemporaryDirectory() as folder:
        again = Path(folder, path.name)
        np.savez(again, x_train=train, x_test=test, y_train=y_train.numpy(), y_test=y_test.numpy())
        return load_task(replace(spec, data=replace(spec.data, source="npz", path=str(again))), data_dir)


def halves(spec: TaskSpec, data_dir: Path, plain: Task) -> Task:
    """The task on images of -1 .. 1."""
    half = torch.full((plain.data.shape[0], 1, 1), 255 / 2)
    splits = {name: replace(plain.data.split(name), mean=half, std=half) for name in ("train", "validation", "test")}
    return Task(spec, replace(plain.data, **splits))


def trained_on_all(spec: TaskSpec, data_dir: Path, plain: Task) -> Task:
    """The task with its validation images among the training images, normalised as before."""
    train, held = plain.data.train, plain.data.validation
    every = replace(train, raw=torch.cat([train.raw, held.raw]), labels=torch.cat([train.labels, held.labels]))
    return Task(spec, replace(plain.data, train=every))


VARIANTS: dict[str, Callable[[TaskSpec, Path, Task], Task]] = {
    "as they are": lambda spec, data_dir, plain: plain,
    "encoded again": encoded,
    "halves": halves,
    "all": trained_on_all,
}


def main() -> None:
    """Measure, print and, where asked, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, action="append", required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--data-dir", type=Path, default=default_data_dir())
    parser.add_argument("--seeds", type=int, nargs="+", default=[1000, 2000])
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--out", type=Path, help="JSON file; what it holds of other variants and tasks stays")
    chosen = parser.parse_args()
    keep_freed_memory()
    spec = resolve(load(chosen.config)).tasks[chosen.task]
    plain = load_task(spec, chosen.data_dir)
    for name in chosen.variants:
        task = VARIANTS[name](spec, chosen.data_dir, plain)
        found = [round(accuracy(task, seed, chosen.steps), 2) for seed in chosen.seeds]
        row = {"task": spec.id, "steps": chosen.steps, "variant": name, "seeds": chosen.seeds, "accuracy": found}
        print(json.dumps(row), flush=True)
        if chosen.out:
            keep(chosen.out, row)


def keep(path: Path, row: dict[str, Any]) -> None:
    """Write a row beside those of other variants and tasks."""
    rows = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    rows = [old for old in rows if (old["task"], old["variant"]) != (row["task"], row["variant"])]
    write_json(path, [*rows, row | {"git": git_commit()}])


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
