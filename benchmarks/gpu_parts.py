"""What ``make gpu`` measures, part by part; `benchmarks.gpu` runs the parts in this order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks import ensemble, loader, measure
from nino.config.experiment import Experiment
from nino.config.load import load
from nino.config.resolve import resolve
from nino.files import write_json
from nino.measure import peak_bytes, seconds
from nino.plan.estimate import plan
from nino.plan.measured import Measured
from nino.plan.printing import as_dict, as_text
from nino.plan.rows import Plan
from nino.tasks import Task, data_sizes, default_data_dir
from nino.training import Training
from tests.device import stages

AIMS = {  # seconds, and bytes of the device's memory, that one H100-class card should keep
    "nowcast-llama-6-384": (0.2, None),
    "nowcast-llama-3.2-1b": (3.0, 20e9),
}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
ROOT = Path(__file__).parents[1]
SMALL = ROOT / "tests" / "device" / "small.yaml"


@dataclass(frozen=True)
class Setting:
    """Where and how large.

    Args:
        device: name of the device.
        out: folder of the results.
        small: whether this is a rehearsal in seconds.
    """

    device: str
    out: Path
    small: bool


Work = Callable[[Setting], dict[str, Any]]


def parts(small: bool) -> Iterator[tuple[str, str, Work]]:
    """Group, name and work of each part, most important first; a group runs in one process."""
    chosen = ("states_in_every_place", "prediction") if small else tuple(stages.STAGES)
    for name in chosen:
        yield "stages", f"stage-{name}", partial(stage, name=name)
    models = ("gpt2-1-8",) if small else ("gpt2-3-64", "gpt2-6-384", "llama-6-384", "llama-3.2-1b")
    for model, dtype, place in product(models, DTYPES, ("host", "device")):
        work = partial(nowcast, model=model, engine="streamed", dtype=dtype, place=place)
        yield "nowcasts", f"nowcast-{model}-{dtype}-{place}", work
    for model in models[:2]:
        work = partial(nowcast, model=model, engine="edges", dtype="float32", place="device")
        yield "nowcasts", f"nowcast-{model}-edges", work
    for task in ("fm-16",) if small else ("fm-16", "lm1b-3-24"):
        yield "fits", f"fit-{task}", partial(fit, task=task)
    for members in (1, 2) if small else (1, 2, 4, 8, 16, 32, 64):
        yield "ensembles", f"ensemble-{members}", partial(networks_at_once, members=members)
    yield "language", "language", language
    yield "hours", "hours", planned


def stage(setting: Setting, name: str) -> dict[str, Any]:
    """A stage's numbers against the CPU's; raises where they differ."""
    return stages.run(name, torch.device(setting.device))


def nowcast(setting: Setting, model: str, engine: str, dtype: str, place: str) -> dict[str, Any]:
    """Seconds, memory and share of the matrix product rate of a full nowcast."""
    hidden = 8 if setting.small else 128
    try:
        found = measure.nowcast(model, engine, hidden, setting.device, 3, DTYPES[dtype], place)
    except torch.OutOfMemoryError as error:
        return {"fits": False, "reason": str(error).split(". ")[0]}
    aim = next((aim for name, aim in AIMS.items() if model in name and engine == "streamed"), (None, None))
    return found | {
        "fits": True,
        "median_seconds": median(found["seconds"]),
        "aim_seconds": aim[0],
        "aim_bytes": aim[1],
    }


def fit(setting: Setting, task: str) -> dict[str, Any]:
    """Meta-training iterations a second in the device's own precision, and what a step waits for its batch."""
    sizes = (4, 2, 3) if setting.small else (60, 20, 3)
    return loader.measure(task, torch.device(setting.device), *sizes)


def networks_at_once(setting: Setting, members: int) -> dict[str, Any]:
    """fm-16's networks trained at once beside one at a time."""
    found = ensemble.measure(ensemble.convnet(setting.device), members, *((1, 1) if setting.small else (5, 10)))
    return found | {"steps_per_second": 1e3 / found["at_once_ms"]}


def language(setting: Setting) -> dict[str, Any]:
    """Steps a second of a language task at the paper's batch, on random tokens."""
    run = experiment(small=False)
    spec = run.tasks["lm1b-3-24"]
    if setting.small:
        spec = replace(spec, recipe=replace(spec.recipe, batch_size=1))
    data = data_sizes(spec, default_data_dir()).synthetic(spec.recipe.batch_size, 1, 1)
    task = Task(spec, data, setting.device)
    training = Training(task, 0)
    memory = peak_bytes(training.step, setting.device)
    step = seconds(training.step, setting.device, budget=0.0 if setting.small else 3.0)
    return {"task": spec.id, "batch": spec.recipe.batch_size, "steps_per_second": 1 / step, "peak_bytes": memory}


def experiment(small: bool) -> Experiment:
    """The paper's run, or the tests' own."""
    return resolve(load([SMALL] if small else [], ROOT / "config.yaml"))


def planned(setting: Setting) -> dict[str, Any]:
    """What the whole run will take here (``nino plan``); ``plan.json`` holds each calibration as soon as it is made."""
    file = setting.out / "plan.json"
    run = experiment(setting.small)

    def keep(so_far: Plan) -> None:
        write_json(file, as_dict(so_far))

    made = Measured.read(file) if file.exists() else None
    kind = torch.device(setting.device).type
    estimated = plan(run, kind, measured=made, calibrated=keep, progress=False)
    write_json(file, as_dict(estimated))
    print(as_text(estimated), flush=True)
    return {"total": json.loads(file.read_text(encoding="utf-8"))["total"]}
