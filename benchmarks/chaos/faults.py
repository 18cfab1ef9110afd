"""Disks, clocks, files and numbers that are not what a command expects."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.chaos.commands import Ended, run, start
from benchmarks.chaos.kills import LINE, SAME
from benchmarks.chaos.whole import CONFIG, DATASET, FIT, RESULTS, STAGES, TASK, Whole, all_of, often

NOT_HERE = "not possible here"


def verdict(ended: Ended, whole: Whole, folder: Path, stage: str) -> str:
    """What a stage's end is worth."""
    if ended.code == 0:
        return whole.difference(stage, folder) or SAME
    return LINE if ended.one_line else f"exit {ended.code}: {ended.text[-300:]}"


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[bool]:
    """A mount on a folder for the block; False where this user may not mount."""
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True).returncode == 0
    try:
        yield done
    finally:
        if done:
            subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)


def full_disk(whole: Whole, folder: Path, draw: random.Random, stage: str) -> str:
    """Run a stage on a disk that is full, make room, and run it again."""
    folder.mkdir()
    with mounted(folder, "-t", "tmpfs", "-o", "size=64m", "tmpfs") as there:
        if not there:
            return NOT_HERE
        whole.before(stage, folder / "run")
        ballast = folder / "ballast"
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(2**14))
            except OSError:
                pass
        os.truncate(ballast, max(0, ballast.stat().st_size - draw.choice((0, 4096, 65536))))
        outside = folder.with_name(folder.name + "-said")
        outside.mkdir()
        ended = run(folder / "run", *STAGES[stage].arguments, lie=often, said_in=outside)
        first = verdict(ended, whole, folder / "run", stage)
        shutil.rmtree(outside)
        ballast.unlink()
        again = verdict(run(folder / "run", *STAGES[stage].arguments, lie=often), whole, folder / "run", stage)
        return first if again == SAME else f"after there was room: {again}"


def read_only(whole: Whole, folder: Path, draw: random.Random, stage: str) -> str:
    """Run a stage on results that may not be written: finished ones are left, others end in one line."""
    if draw.random() < 0.5:
        whole.before(stage, folder)
    else:
        shutil.copytree(whole.folder, folder)
    outside = folder.with_name(folder.name + "-said")
    outside.mkdir()
    with mounted(folder, "--bind", str(folder)) as there:
        remount = ["mount", "-o", "remount,ro,bind", str(folder)]
        if not there or subprocess.run(remount, capture_output=True).returncode:
            return NOT_HERE
        ended = run(folder, *STAGES[stage].arguments, lie=often, said_in=outside)
        shutil.rmtree(outside)
        return verdict(ended, whole, folder, stage)


def read_only_cache(whole: Whole, folder: Path, draw: random.Random, stage: str) -> str:
    """Open caches of tokens and images where nothing may be written; those that are not there end in a line."""
    import numpy as np
    import torch

    from nino.tasks.archives import cached_arrays
    from nino.tasks.tokens import cached_blocks

    folder.mkdir()
    numbers = np.arange(draw.randrange(8, 64), dtype=np.int64)

    def read(name: str) -> dict[str, list[object]]:
        key = {"source": name, "tokenizer": "none", "block": 4, "group": 1}
        blocks = cached_blocks(folder, key, lambda _: ["row"], lambda rows: [numbers.tolist()] * len(rows), 100)
        images = cached_arrays(folder / f"{name}.npz", lambda: {"x": numbers})
        return {split: part.select(torch.arange(len(part)))[0].tolist() for split, part in blocks.items()} | {
            "x": images["x"].tolist()
        }

    before = read("made")
    with mounted(folder, "--bind", str(folder)) as there:
        remount = ["mount", "-o", "remount,ro,bind", str(folder)]
        if not there or subprocess.run(remount, capture_output=True).returncode:
            return NOT_HERE
        if read("made") != before:
            return "other tokens or images than were written"
        try:
            read("new")
        except OSError as error:
            return LINE if "\n" not in str(error) and str(folder) in str(error) else f"says {error}"
        return "a cache was made where nothing may be written"


def jumping_clock(whole: Whole, folder: Path, draw: random.Random, stage: str) -> str:
    """Let the wall clock jump by up to a day, back and forth, at every look; files get such times, too."""
    whole.before(stage, folder)
    seed = draw.random()

    def jump() -> None:
        jumps, plain = random.Random(seed), time.time
        time.time = lambda: plain() + jumps.uniform(-86400, 86400)

    for path in folder.rglob("*"):
        moment = time.time() + draw.uniform(-86400, 86400)
        os.utime(path, (moment, moment))
    after = draw.uniform(0, whole.seconds[stage])
    run(folder, *STAGES[stage].arguments, kill_after=after, lie=all_of(often, jump))
    return verdict(run(folder, *STAGES[stage].arguments, lie=all_of(often, jump)), whole, folder, stage)


def foreign_shard(whole: Whole, folder: Path, draw: random.Random, stage: str) -> str:
    """Put a shard of another recipe in a shard's place, before it is joined or after."""
    whole.before(stage, folder)
    shards = [folder / RESULTS / STAGES[f"collect {i}"].outputs[0] for i in (0, 1)]
    if draw.random() < 0.5:
        shards[0].unlink()
        (folder / "other.yaml").write_text("{tasks: {digits-2: {recipe: {lr: 0.5}}}}")
        made = run(folder, "collect", "--shard", 0, *CONFIG, "--config", "other.yaml", *TASK)
        if made.code:
            return f"the foreign shard was not made: {made.text[-300:]}"
    else:
        shutil.copyfile(shards[1], shards[0])
    return verdict(run(folder, *STAGES[stage].arguments), whole, folder, stage)


def damage(path: Path, draw: random.Random) -> None:
    """Flip a bit, zero or cut a part of a file."""
    data = bytearray(path.read_bytes())
    place = draw.randrange(len(data))
    kind = draw.choice(("flip", "zero", "cut"))
    if kind == "flip":
        data[place] ^= 1 << draw.randrange(8)
    elif kind == "zero":
        data[place : place + 512] = bytes(len(data[place : place + 512]))
    else:
        del data[place:]
    path.write_bytes(bytes(data))


def damaged_checkpoint(whole: Whole, folder: Path, draw: random.Random, stage: str) -> str:
    """Kill a stage once it has a checkpoint, damage that, and start the stage again."""
    whole.before(stage, folder)
    output = folder / RESULTS / STAGES[stage].outputs[0]
    name = "state/training.pt" if stage == "metatrain" else "unfinished.pt"
    running = start(folder, *STAGES[stage].arguments, lie=often)
    if not running.wait(kill_when=(output / name).exists).killed:
        return "no checkpoint was there to be damaged"
    damage(output / name, draw)
    return verdict(run(folder, *STAGES[stage].arguments, lie=often), whole, folder, stage)


INPUTS = {
    "join": "trajectories/digits-2/shard=1.h5",
    "metatrain": "trajectories/digits-2/shard=0.h5",
    "card": f"{FIT}/best.safetensors",
    "evaluate nino": f"{FIT}/best.safetensors",
    "datasheet": DATASET,
    "tables": "evaluate/digits-2/nino/seed=1000/log.csv",
}


def damaged_input(whole: Whole, folder: Path, draw: random.Random, stage: str) -> str:
    """Damage what a stage reads."""
    whole.before(stage, folder)
    damage(folder / RESULTS / INPUTS[stage], draw)
    return verdict(run(folder, *STAGES[stage].arguments, lie=often), whole, folder, stage)


def nan_batches(whole: Whole, folder: Path, draw: random.Random, stage: str) -> str:
    """Hand NaN to a fit in some iterations, or from one on: they are skipped and counted, or the fit ends in a line."""
    from nino.metatrain import WindowSampler

    whole.before(stage, folder)
    forever = draw.random() < 0.5
    chosen = {draw.randrange(60) for _ in range(5)}
    plain = WindowSampler.batch

    def lie() -> None:
        def batch(self: WindowSampler, iteration: int, *rest: object) -> object:
            windows = plain(self, iteration, *rest)  # type: ignore[arg-type]
            if forever or iteration in chosen:
                for each in windows:
                    each.states.fill_(float("nan"))
            return windows

        WindowSampler.batch = batch  # type: ignore[method-assign, assignment]

    ended = run(folder, *STAGES[stage].arguments, lie=lie)
    if forever:
        return LINE if ended.one_line else f"exit {ended.code}: {ended.text[-300:]}"
    log = (folder / RESULTS / FIT / "log.csv").read_text().splitlines() if not ended.code else [""]
    skipped = log[-1].rpartition(",")[2]
    finite = run(folder, *STAGES["card"].arguments).code == 0
    wanted = ended.code == 0 and skipped == str(len(chosen)) and finite
    return (
        "skipped and counted"
        if wanted
        else f"exit {ended.code}, {skipped} of {len(chosen)} skipped: {ended.text[-300:]}"
    )


def climbing_archive(whole: Whole, folder: Path, draw: random.Random, stage: str) -> str:
    """Hand over archives and indices that name files outside of their folder."""
    import numpy as np
    import torch

    from nino.offline.checkpoints import Checkpoint
    from nino.tasks.archives import read_archive

    inner = folder / "a" / "b"
    inner.mkdir(parents=True)
    torch.save({"weight": torch.zeros(2)}, folder / "a" / "outside.bin")
    np.save(inner / "x.npy", np.zeros((2, 2, 2), np.uint8))
    before = sorted(folder.rglob("*"))
    climb = draw.choice(("../", "../../", f"{folder.absolute()}/"))
    tries: dict[str, Callable[[], object]] = {}
    with zipfile.ZipFile(inner / "climb.npz", "w") as archive:
        for name in ("x_train", "y_train", "x_test", "y_test"):
            archive.write(inner / "x.npy", f"{climb}{name}.npy")
    tries["images"] = lambda: read_archive(inner / "climb.npz", inner)
    (inner / "checkpoint-1").mkdir()
    index = {"weight_map": {"weight": f"{climb}outside.bin"}}
    (inner / "checkpoint-1" / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    tries["weights"] = lambda: Checkpoint.open(inner / "checkpoint-1", 1)
    for what, attempt in tries.items():
        try:
            attempt()
        except ValueError as error:
            if "\n" in str(error):
                return f"{what}: more than a line"
        else:
            return f"{what}: accepted"
    new = {path for path in folder.rglob("*") if path not in before}
    return LINE if all(inner in path.parents for path in new) else "a file was written outside"
