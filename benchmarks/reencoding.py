"""What JPEG encoding costs a task: the same training on its images, and on those encoded once more.

The images are moved by a few pixels first, so that blocks and halved colours fall on other places; then they are
encoded with the quality and subsampling of most JPEG files (75, 4:2:0) and moved back. Reported is the test accuracy,
its mean over the second half of the steps.

    python -m benchmarks.reencoding --config workflow/configs/cpu.yaml --task c10-16 --data-dir FOLDER
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from nino.allocator import keep_freed_memory
from nino.config import load, resolve
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


def variants(spec: TaskSpec, data_dir: Path, folder: Path) -> dict[str, Task]:
    """The task on its images, and on those encoded again, whose file is written to a folder."""
    path = data_dir / f"{spec.data.name}.npz"
    (x_train, y_train), (x_test, y_test) = read_archive(path, data_dir)
    again = folder / path.name
    train, test = encoded_again(x_train), encoded_again(x_test)
    np.savez(again, x_train=train, x_test=test, y_train=y_train.numpy(), y_test=y_test.numpy())
    other = replace(spec, data=replace(spec.data, source="npz", path=str(again)))
    return {"as they are": load_task(spec, data_dir), "encoded again": load_task(other, data_dir)}


def main() -> None:
    """Measure and print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, action="append", required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--data-dir", type=Path, default=default_data_dir())
    parser.add_argument("--seeds", type=int, nargs="+", default=[1000, 2000])
    parser.add_argument("--steps", type=int, default=5000)
    chosen = parser.parse_args()
    keep_freed_memory()
    spec = resolve(load(chosen.config)).tasks[chosen.task]
    with TemporaryDirectory() as folder:
        tasks = variants(spec, chosen.data_dir, Path(folder))
        found = {
            name: [round(accuracy(task, seed, chosen.steps), 2) for seed in chosen.seeds]
            for name, task in tasks.items()
        }
    print(json.dumps({"task": spec.id, "steps": chosen.steps, "seeds": chosen.seeds, "accuracy": found}))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
