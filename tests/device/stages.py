"""Every stage that takes ``--device``, there and on the CPU: ``python -m tests.device DEVICE [STAGE...]``.

On ``pretend`` (`tests.device.pretend`) the numbers must be the CPU's to the bit. A real accelerator rounds otherwise:
there they must be close. Needs what the library needs, and h5py; no test framework.
"""

from __future__ import annotations

import multiprocessing as mp
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from nino import NiNo, device
from nino.evaluate.job import Job
from nino.evaluate.run import evaluate_run, evaluate_runs
from nino.graphs import NeuralGraph, neural_graph
from nino.l2o import fit_l2o
from nino.measure import elapsed
from nino.metatrain import metatrain
from nino.metatrain.optimize import Precision, Trainer
from nino.nowcasters import load_nowcaster
from nino.offline import merge, step
from nino.optim import History, Schedule
from nino.plan.calibrate import calibrate
from nino.specs import (
    L2OSpec,
    MetatrainSpec,
    MethodSpec,
    OverheadSpec,
    TrajectorySpec,
)
from nino.studies.overhead import measure
from nino.tasks import DataSizes, Task
from nino.trajectories import TrajectoryReader
from nino.trajectories.collect import collect_shard
from tests.device import pretend
from tests.device.tiny import (
    CPU,
    FIT,
    IMAGES,
    PERIOD,
    SCHEDULE,
    STEPS,
    flat,
    images,
    nowcaster_file,
    rows,
    same,
    small_net,
    tokens,
)

METHODS = {
    "none": {},
    "identity": {},
    "linear": {"accept": "loss"},
    "random": {},
    "oracle": {},
    "checkpoint": {"still": "keep"},
    "checkpoint edges": {"edges": 0.5},
    "checkpoint blocks": {"subgraphs": "block"},
    "checkpoint exact": {"topology": "exact", "scaling": "network"},
    "checkpoint wnn+": {},
    "nino.nowcasters.wnn:WNN": {},
}
STAGES: dict[str, Callable[[torch.device, Path], None]] = {}


def stage(work: Callable[[torch.device, Path], None]) -> Callable[[torch.device, Path], None]:
    """Register a stage: called with a device and an empty folder, raises where the CPU's numbers do not come out."""
    STAGES[work.__name__] = work
    return work


@stage
def rules(place: torch.device, folder: Path) -> None:
    """What is on the device meets nothing that is not, and NumPy does not see it."""
    here, there = torch.ones(3), torch.ones(3, device=place)
    for forbidden in (
        lambda: here + there,
        lambda: torch.cat([there, here]),
        lambda: here[there.long()],
        lambda: F.linear(there, here.expand(2, 3)),
    ):
        try:
            forbidden()
        except RuntimeError as error:
            assert "device" in str(error), error
        else:
            raise AssertionError("tensors of two devices were mixed")
    with suppress(TypeError):
        there.numpy()
        raise AssertionError("NumPy saw a tensor of the device")
    assert torch.equal((there[torch.arange(2)] * here.sum()).cpu(), torch.full((2,), 3.0))
    if device.pins_memory(place):
        locked = torch.empty(3, pin_memory=True)
        locked.copy_(there, non_blocking=True)
        assert place.type != "pretend" or locked.isnan().all()
        device.wait_for_copies(place)
        assert torch.equal(locked, here)


@stage
def collect(place: torch.device, folder: Path) -> None:
    """Trajectories of networks one by one and three at once, of images and of tokens with dropout."""
    for make, at_once in ((images, 1), (images, 3), (tokens, None)):
        spec = TrajectorySpec(models=3, models_per_shard=3, state_every=5, members_per_job=at_once)
        readers = []
        for where in (place, CPU):
            path = folder / f"{make.__name__}-{at_once}-{where.type}.h5"
            collect_shard(make(where), spec, 0, path, evaluations=2, progress=False)
            readers.append(TrajectoryReader(path))
        if make is tokens and place.type != "pretend":  # another make draws other dropout masks
            continue
        for name in ("train_loss", "validation", "test"):
            same(readers[0].metrics[name], readers[1].metrics[name], place, 0.05, 0.0 if name == "train_loss" else 1e-6)
        for i in range(3):
            same(*(reader.window(i, 0, 1, 3) for reader in readers), place, 0.02)


def sources(folder: Path, *makes: Callable[[torch.device], Task]) -> dict[str, tuple[NeuralGraph, TrajectoryReader]]:
    """Trajectories of tasks, collected on the CPU."""
    made = {}
    for make in makes:
        path, task = folder / f"{make.__name__}.h5", make(CPU)
        if not path.exists():
            spec = TrajectorySpec(models=3, models_per_shard=3, state_every=1)
            collect_shard(task, spec, 0, path, evaluations=2, progress=False)
        made[task.spec.id] = (neural_graph(task.build_model(0)), TrajectoryReader(path))
    return made


def fitted(spec: MetatrainSpec, data: Any, out: Path, where: torch.device, dtype: torch.dtype | None) -> Path:
    """A fit whose matrix products are in this precision."""
    with patch.object(Precision, "choose", lambda *_: Precision(where, dtype)):
        metatrain(spec, data, out, progress=False)
    return out


def nets_of(out: Path) -> Tensor:
    """Both nowcasters that a fit leaves."""
    return torch.cat([flat(load_nowcaster(out / f"{name}.safetensors")) for name in ("best", "last")])  # type: ignore[arg-type]


@stage
def metatraining(place: torch.device, folder: Path) -> None:
    """Fits in float32, in the device's own precision and in float16, held against the CPU's in the same."""
    assert Precision.choose(place, "auto").dtype == device.product_dtype(place) is not None
    assert Precision.choose(place, "off").dtype is None
    both, one = sources(folder, images, tokens), sources(folder, images)
    for kind, dtype, data in (
        ("nino", None, both),
        ("wnn+", None, one),
        ("nino", torch.bfloat16, one),
        ("nino", torch.float16, one),
    ):
        spec = replace(FIT, kind=kind)
        if kind == "wnn+":
            spec = replace(spec, model={"hidden": 8})
        outs = [fitted(spec, data, folder / f"{kind} {dtype} {where}", where, dtype) for where in (place, CPU)]
        loosely, almost = (0.02, 1e-6) if dtype is None else (0.2, 1e-3)  # other operations are in float32, too
        same(*(rows(out / "log.csv", "windows_per_second") for out in outs), place, loosely, almost)
        same(*map(nets_of, outs), place, loosely, almost)


@stage
def resumed_fit(place: torch.device, folder: Path) -> None:
    """A fit that is killed after its checkpoint goes on from its file and ends where the undisturbed one does."""
    step = Trainer.step

    def killed(self: Trainer, iteration: int, batch: Any) -> Any:
        if iteration == 2:
            raise InterruptedError
        return step(self, iteration, batch)

    data, dtype = sources(folder, images), device.product_dtype(place)
    whole = fitted(FIT, data, folder / "whole", place, dtype)
    with suppress(InterruptedError), patch.object(Trainer, "step", killed):
        fitted(FIT, data, folder / "parts", place, dtype)
    assert (folder / "parts" / "state").exists()
    same(nets_of(fitted(FIT, data, folder / "parts", place, dtype)), nets_of(whole), place, 0.02)


def evaluated(task: Task, name: str, options: dict[str, Any], folder: Path, files: Path) -> None:
    """One run of a method; ``checkpoint`` may be followed by what it is."""
    kind, _, which = name.partition(" ")
    path = None
    if kind == "checkpoint":
        path = nowcaster_file(files, "wnn+" if which == "wnn+" else "nino")
    method = MethodSpec(name, kind, options=options, path="best.safetensors" if kind == "l2o" else None)
    torch.manual_seed(0)  # whose numbers the losses that decide on a nowcast drop neurons by
    evaluate_run(task, method, 7, SCHEDULE, folder, path)


@stage
def evaluation(place: torch.device, folder: Path) -> None:
    """A run of every method, on images; some on tokens, whose dropout is drawn on the device."""
    jobs = [(images, name) for name in METHODS] + [(tokens, name) for name in ("none", "linear", "checkpoint")]
    for make, name in jobs:
        tables = []
        for where in (place, CPU):
            out = folder / where.type / make.__name__ / name
            evaluated(make(where), name, METHODS[name], out, folder)
            tables.append([rows(out / "log.csv"), rows(out / "nowcasts.csv")])
        if make is images or place.type == "pretend":  # another make draws other dropout masks
            for found, wanted in zip(*tables, strict=True):
                same(found, wanted, place, 0.05, 1e-6)


@stage
def evaluation_at_once(place: torch.device, folder: Path) -> None:
    """Three seeds trained at once are what they are on the CPU."""
    tables = []
    for where in (place, CPU):
        outs = [folder / where.type / str(seed) for seed in (1, 2, 3)]
        task = images(where)
        jobs = [Job(task, MethodSpec("linear", "linear"), 1 + i, SCHEDULE, out) for i, out in enumerate(outs)]
        assert [run["members_at_once"] for run in evaluate_runs(jobs, members=3)] == [3] * 3
        tables.append([rows(out / "log.csv") for out in outs])
    same(*tables, place, 0.05)


@stage
def learned_optimizer(place: torch.device, folder: Path) -> None:
    """Fitting one, and a run that it takes the steps of."""
    spec = L2OSpec(iterations=3, hidden=4, unroll=3, trainings=1, max_steps=6, validation_steps=2, validate_every=2)
    tables = []
    for where in (place, CPU):
        out = folder / where.type
        fit_l2o(spec, images(where), out, progress=False)
        evaluate_run(
            images(where), MethodSpec("l2o", "l2o", path="-"), 7, SCHEDULE, out / "run", out / "best.safetensors"
        )
        tables.append([rows(out / "log.csv"), rows(out / "run" / "log.csv")])
    for found, wanted in zip(*tables, strict=True):
        same(found, wanted, place, 0.05)


def trained(
    place: torch.device, make: Callable[[nn.Module], NiNo], steps: int = STEPS, model: nn.Module | None = None
) -> NiNo:
    """Some steps of a small network under a wrapper."""
    net = (small_net() if model is None else model).to(place)
    generator = torch.Generator("cpu").manual_seed(0)
    x, y = torch.randn(64, 1, 8, 8, generator=generator), torch.arange(64) % 4
    dtype = next(net.parameters()).dtype
    opt = make(net)
    opt.loss = lambda: F.cross_entropy(net(x.to(place, dtype)).float(), y.to(place))
    for _ in range(steps):
        if opt.need_grads:
            opt.zero_grad()
            opt.loss().backward()
        opt.step()
    return opt


@stage
def wrapper(place: torch.device, folder: Path) -> None:
    """The optimizer in its settings: histories, dtypes, rules, graphs, and where the network computes."""
    net = lambda: load_nowcaster(nowcaster_file(folder))  # noqa: E731
    first = torch.zeros(6, 1, 3, 3, dtype=torch.bool)
    first[0] = True
    settings: list[dict[str, Any]] = [
        *({"history": kind, "history_dir": folder} for kind in ("auto", "cpu", "pinned", "device", "disk")),
        {"history_dtype": torch.bfloat16},
        {"history_dtype": torch.float16, "history": "pinned"},
        {"accept": "loss"},
        {"still": "predict", "update_scale": 0.5},
        {"topology": "exact"},
        {"memory_budget": 3000},
        {"device": "cpu"},
        {"frozen": {"0.weight": first}, "horizons": 2},
        {"fused": True},
        {"dtype": torch.bfloat16, "fused": True},
    ]
    for options in settings:
        dtype, fused = options.pop("dtype", torch.float32), options.pop("fused", False)
        ends = []
        for where in (place, CPU):
            here = {**options, **({"device": CPU} if "device" in options else {})}

            def make(model: nn.Module, here: dict[str, Any] = here, fused: bool = fused) -> NiNo:
                base = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=fused)
                return NiNo(base, None, model, PERIOD, STEPS, nowcaster=net(), max_horizon=3, verbose=False, **here)

            opt = trained(where, make, model=small_net().to(dtype))
            assert opt.counts["kept"] + opt.counts["put back"] == 2, (options, opt.counts)
            ends.append(torch.cat([p.detach().flatten() for p in opt.named.values()]))
            assert {p.device.type for p in opt.named.values()} == {where.type}
        same(*ends, place, 0.02 if dtype == torch.float32 else 0.2)


@stage
def states_in_every_place(place: torch.device, folder: Path) -> None:
    """States of a model that moves to the device: page-locked by default, read once the copies are done."""
    for kind in ("auto", "pinned", "cpu", "device", "disk"):
        model = nn.Sequential(nn.Linear(300, 300), nn.Linear(300, 300))
        history = History(list(model.parameters()), 5, kind, directory=folder)  # type: ignore[arg-type]
        model.to(place)
        expected = []
        for slot in range(5):
            expected.append(flat(model).cpu())
            history.save(slot)  # nothing after it waits but `states`
            with torch.no_grad():
                for p in model.parameters():
                    p.add_(1.0)
        states = history.states()
        assert torch.equal(states.cpu(), torch.stack(expected, 1)) and history.finite, kind
        assert states.is_pinned() == (kind in ("auto", "pinned") and device.pins_memory(place)), kind
        assert states.device.type == (place.type if kind == "device" else "cpu"), kind


@stage
def prediction(place: torch.device, folder: Path) -> None:
    """Both engines with the network on the device, and states there or on the CPU."""
    for make in (images, tokens):
        graph = neural_graph(make(CPU).build_model(0))
        states = torch.randn(graph.num_parameters, 5, generator=torch.Generator("cpu").manual_seed(0))
        for kind in ("nino", "wnn+"):
            net: Any = load_nowcaster(nowcaster_file(folder, kind))
            wanted = net.predict(graph, states, 3)
            net.to(place)
            for engine, held in (("streamed", states), ("streamed", states.to(place)), ("edges", states.to(place))):
                found = net.predict(graph, held, 3, engine=engine)
                assert found.device == held.device
                same(found, wanted, place, 1e-3, 1e-5)


@stage
def resumed_wrapper(place: torch.device, folder: Path) -> None:
    """A state saved on the device goes on there and on the CPU."""

    def make(model: nn.Module) -> NiNo:
        base = torch.optim.AdamW(model.parameters(), lr=1e-2)
        return NiNo(base, None, model, PERIOD, STEPS, nowcaster=load_nowcaster(nowcaster_file(folder)), verbose=False)

    whole, half = trained(place, make), trained(place, make, 8)
    torch.save({"model": half.model.state_dict(), "opt": half.state_dict()}, folder / "state.pt")
    for where in (place, CPU):

        def resume(model: nn.Module) -> NiNo:
            saved = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
            model.load_state_dict(saved["model"])
            opt = make(model)
            opt.load_state_dict(saved["opt"])
            return opt

        same(flat(trained(where, resume, 2).model), flat(whole.model), place, 0.02)


@stage
def shared_nowcasts(place: torch.device, folder: Path) -> None:
    """Two processes that train replicas and share the nowcasts end where one does on the CPU."""
    nowcaster_file(folder)
    context = mp.get_context("forkserver")  # which has no threads of autograd and no device yet
    context.set_forkserver_preload(["tests.device.stages"])
    ranks = [context.Process(target=rank_of_two, args=(str(place), number, folder)) for number in (0, 1)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    assert [process.exitcode for process in ranks] == [0, 0]
    alone = flat(trained(CPU, lambda model: sharing(model, folder)).model)
    for number in (0, 1):
        same(torch.load(folder / f"{number}.pt"), alone, place, 0.02, 1e-5)


def sharing(model: nn.Module, folder: Path) -> NiNo:
    base = torch.optim.SGD(model.parameters(), lr=1e-2)
    return NiNo(base, None, model, PERIOD, STEPS, nowcaster=load_nowcaster(nowcaster_file(folder)), max_horizon=3)


def rank_of_two(name: str, number: int, folder: Path) -> None:
    """One of the processes; they talk through gloo, which takes a GPU's tensors too."""
    torch.set_num_threads(1)
    place = pretend.install() if name.startswith(pretend.NAME) else torch.device(name)
    backend = f"cpu:gloo,{pretend.NAME}:gloo" if place.type == pretend.NAME else "gloo"
    file = f"file://{folder}/store"
    dist.init_process_group(backend, init_method=file, rank=number, world_size=2, timeout=timedelta(seconds=60))
    opt = trained(place, lambda model: sharing(model, folder))
    assert opt.counts == {"kept": 2, "put back": 0, "left out": 0} and opt.history.shards is not None
    torch.save(flat(opt.model).cpu(), folder / f"{number}.pt")
    dist.destroy_process_group()


@stage
def one_nowcast(place: torch.device, folder: Path) -> None:
    """Offline: a nowcast from checkpoints, and models merged, with the network on the device."""
    paths = []
    for n in range(5):
        paths.append(folder / f"step_{10 * n + 10}.pt")
        start = {name: value + 0.01 * n * value.sign() for name, value in small_net().state_dict().items()}
        torch.save(start, paths[-1])
    net = nowcaster_file(folder)
    for name, make in {
        "step": lambda out, where: step(folder, net, 3, model=small_net(), out=out, device=where),
        "merge": lambda out, where: merge(paths[0], paths[1:], net, out, model=small_net(), device=where),
    }.items():
        results = []
        for where in (place, CPU):
            out = folder / "out" / f"{name}-{where.type}.pt"
            make(out, where)
            results.append(torch.cat([value.flatten() for value in torch.load(out, weights_only=True).values()]))
        same(*results, place)


@stage
def plans_and_costs(place: torch.device, folder: Path) -> None:
    """What ``nino plan`` and the study of overhead time there."""
    sizes = DataSizes("vision", (1, 8, 8), 4, {"train": 64, "validation": 64, "test": 128}, "the data")
    net = load_nowcaster(nowcaster_file(folder))
    collected = TrajectorySpec(models=2, models_per_shard=2, state_every=5, members_per_job=2)
    with patch("nino.plan.calibrate.seconds", elapsed), patch("nino.studies.overhead.REPEATS", 2):
        times = calibrate(IMAGES, sizes, place, {"nino": net}, {"nino": schedule()}, folder, collected)
        assert times.step > 0 and times.nowcasts["nino"] > 0 and times.collect_step > 0
        spec = OverheadSpec(("gpt2-1-8",), ("adam", "nino", "l2o"), hidden=4, batch=2, tokens=8, period=100)
        for method in spec.methods:
            assert measure(spec, "gpt2-1-8", method, str(place)).seconds > 0


def schedule() -> Schedule:
    return Schedule.make(period=PERIOD, context=5, max_train_steps=STEPS, max_horizon=3)


def run(name: str, place: torch.device) -> dict[str, float]:
    """Run a stage; the seconds of this process that it took."""
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        STAGES[name](place, Path(folder))
    return {"processor_seconds": round(time.process_time() - start, 2)}
