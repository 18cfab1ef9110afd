"""What processes that share nowcasts do in tests: ``python -m tests.optim.shared FOLDER WORLD=WHAT:KIND,...``."""

from __future__ import annotations

import multiprocessing as mp
import re
import sys
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from unittest import mock

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

from nino import NiNo
from nino.graphs import neural_graph
from nino.nowcasters import LineFit, Nowcaster, build_nowcaster
from nino.optim import nowcasting
from nino.optim.copies import Carried
from nino.optim.history import History
from nino.optim.shards import local

SECONDS = 300  # after which a process that waits for another one gives up


class Net(nn.Module):
    """A convolution whose channels are flattened, an embedding tied to the head, a frozen layer, a bare scalar."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3)
        self.mix = nn.Linear(6 * 4, 10)
        self.fixed = nn.Linear(10, 10)
        self.up = nn.Linear(10, 8)
        self.down = nn.Linear(8, 10)
        self.words = nn.Embedding(11, 10)
        self.head = nn.Linear(10, 11, bias=False)
        self.head.weight = self.words.weight
        self.fixed.requires_grad_(False)

    def forward(self, image: torch.Tensor, word: torch.Tensor) -> torch.Tensor:
        x = self.mix(torch.relu(self.conv(image)).flatten(1)) + self.words(word)
        x = self.fixed(x)
        return self.head(x + self.down(torch.relu(self.up(x))))


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The same for all processes, so that they train as one does."""
    generator = torch.Generator().manual_seed(step)
    image, word = torch.randn(8, 1, 4, 4, generator=generator), torch.randint(11, (8,), generator=generator)
    return image, word, torch.randint(11, (8,), generator=generator)


def example() -> tuple[torch.Tensor, torch.Tensor]:
    return batch(0)[:2]


def net() -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net()


def placed(kind: str) -> tuple[nn.Module, nn.Module]:
    """The model as this kind of training places it, and what to call."""
    model: nn.Module = net()
    world = dist.get_world_size() if dist.is_initialized() else 1
    if kind == "one":
        return model, model
    if kind == "ddp":
        return model, DistributedDataParallel(model)
    if kind.startswith("fsdp"):
        policy = MixedPrecisionPolicy(torch.bfloat16) if "bf16" in kind else MixedPrecisionPolicy()
        shape, names = ((2, world // 2), ("replicas", "shards")) if "hybrid" in kind else ((world,), ("shards",))
        mesh = init_device_mesh("cpu", shape, mesh_dim_names=names)
        for part in (model.up, model.down, model.conv):
            fully_shard(part, mesh=mesh, mp_policy=policy)
        return fully_shard(model, mesh=mesh, mp_policy=policy), model
    mesh = init_device_mesh(
        "cpu",
        (2, world // 2) if "2d" in kind else (world,),
        mesh_dim_names=("data", "tensor") if "2d" in kind else ("tensor",),
    )
    tensor = mesh["tensor"]
    plan = {"up": ColwiseParallel(), "down": RowwiseParallel(), "mix": RowwiseParallel(input_layouts=Replicate())}
    parallelize_module(model, tensor, plan)
    if "2d" in kind:
        fully_shard(model, mesh=mesh["data"])
    return model, model


def whole(model: nn.Module) -> dict[str, torch.Tensor]:
    found = {}
    for name, p in model.named_parameters():
        found[name] = (p.full_tensor() if isinstance(p, DTensor) else p).detach().clone()
    return found


class Damped(Nowcaster):
    """Knows nothing of processes that share."""

    def predict(self, graph, states, k, **options):
        self.check(graph, states, k)
        return states[:, -1] + k * (states[:, -1] - states[:, 0]) / 5


def nowcaster(name: str):
    if name == "linear":
        return LineFit()
    network = build_nowcaster(name, hidden=16)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # updates far above float32's rounding, as a fresh network's are not
        for p in network.parameters():
            if p.ndim == 2:
                p.normal_(0.0, p.shape[1] ** -0.5, generator=generator)
    return network


class Run:
    """A training, a step at a time."""

    def __init__(self, kind: str, predictor=None, lr: float = 0.05, base=torch.optim.SGD, **options) -> None:
        self.graph = neural_graph(net(), "exact", example=example())
        self.model, self.call = placed(kind)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.opt = NiNo(
            base(trained, lr=lr),
            None,
            self.model,
            5,
            40,
            nowcaster=predictor or nowcaster("nino"),
            graph=self.graph,
            **{"horizons": 3, **options},
        )

    def loss(self, step: int = 99) -> torch.Tensor:
        image, word, target = batch(step)
        return F.cross_entropy(self.call(image, word).float(), target)

    def steps(self, first: int, last: int) -> Run:
        for step in range(first, last):
            if self.opt.need_grads:
                self.opt.zero_grad()
                self.loss(step).backward()
            self.opt.step()
        return self

    def drift(self, step: int) -> None:
        """Move every element by a function of itself, which is the same however parameters are placed."""
        with torch.no_grad():
            for p in self.model.parameters():
                here = local(p)
                here.add_(0.01 * torch.sin(100 * here + step))

    def without_training(self, steps: int) -> Run:
        for step in range(steps):
            self.opt.step()
            if step < steps - 1:
                self.drift(step)
        return self


def expected(predictor, k: int = 3) -> dict[str, torch.Tensor]:
    """One process's nowcast of the states that ``without_training`` goes through."""
    run = Run("one", predictor, lr=0.0)
    states = []
    for step in range(5):
        states.append(torch.cat([p.detach().flatten() for p in run.model.parameters()]))
        run.drift(step)
    prediction = predictor.predict(run.graph, torch.stack(states, dim=1), k)
    largest = (prediction - states[-1]).abs().max()
    parts = prediction.split([p.numel() for p in run.model.parameters()])
    named = zip(run.model.named_parameters(), parts, strict=True)
    return {name: part.view(p.shape) for (name, p), part in named if p.requires_grad} | {"largest": largest}


def equals_one_process(kind: str, predictor) -> None:
    run = Run(kind, predictor, lr=0.0)
    frozen = whole(run.model)["fixed.weight"]
    run.without_training(5)
    assert run.opt.counts == {"kept": 1, "put back": 0, "left out": 0}, (kind, run.opt.counts)
    wanted, found = expected(predictor), whole(run.model)
    largest = wanted.pop("largest")
    assert largest > 1e-2, (kind, type(predictor), largest)
    for name, value in wanted.items():
        difference = (found[name] - value).abs().max() / largest
        assert difference < 1e-5, (kind, name, float(difference))
    states = 5 * sum(p.numel() for p in net().parameters())
    held = [run.opt.history.nbytes / 4]
    everywhere = run.opt.nowcasting.ranks.gather(held[0])
    assert sum(everywhere) == states, (kind, everywhere, states)
    if getattr(predictor, "shares", False):
        assert max(everywhere) < 1.6 * states / len(everywhere), (kind, everywhere)
    for _ in range(4):
        run.drift(0)
    assert not torch.equal(frozen, found["fixed.weight"])  # moved by the drift, not by the nowcast


def trains(kind: str) -> None:
    """Two nowcasts and the steps between them, with the loss measured, as one process does them."""
    run, alone = (Run(where, accept="loss") for where in (kind, "one"))
    for each in (run, alone):
        each.opt.loss = each.loss
        each.steps(0, 12)
    assert run.opt.counts == alone.opt.counts, (kind, run.opt.counts, alone.opt.counts)
    rtol = 5e-2 if "bf16" in kind else 1e-4
    torch.testing.assert_close(run.opt.last_nowcast.loss_after, alone.opt.last_nowcast.loss_after, rtol=rtol, atol=0)
    found, wanted = whole(run.model), whole(alone.model)
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=rtol, atol=1e-2 if "bf16" in kind else 1e-5)


class Fails(LineFit):
    """Out of memory on one rank, or on all."""

    def __init__(self, *ranks: int) -> None:
        self.ranks = ranks

    def update(self, states, k, parameter):
        if dist.get_rank() in self.ranks:
            raise MemoryError("too large")
        return super().update(states, k, parameter)


def leaves_out_together(kind: str) -> None:
    rank, world = dist.get_rank(), dist.get_world_size()
    run = Run(kind, Fails(world - 1), lr=0.0).without_training(5)
    assert run.opt.counts == {"kept": 0, "put back": 0, "left out": 1} and run.opt.steps == 5
    for where, name in ((History, "_allocate"), (Carried, "choose"), (nowcasting, "snapshot")):
        run = Run(kind, LineFit(), lr=0.0, loss=lambda: 1.0)
        with mock.patch.object(where, name, lambda *_: 1 / 0) if rank == world - 1 else nullcontext():
            before = whole(run.without_training(4).model)
            run.opt.step()
        assert run.opt.counts == {"kept": 0, "put back": 0, "left out": 1}, (kind, name, run.opt.counts)
        assert all(torch.equal(p, before[key]) for key, p in whole(run.model).items()), (kind, name)
        assert run.without_training(5).opt.counts["kept"] == 1, (kind, name)
    network = nowcaster("nino")
    run = Run(kind, network, lr=0.0)
    if rank == world - 1:
        network.check_graph = lambda graph: 1 / 0
    run.without_training(5)
    assert run.opt.counts["left out"] == 1
    try:
        Run(kind, Fails(*range(world)), lr=0.0).without_training(5)
    except MemoryError:
        pass
    else:
        raise AssertionError("what fails everywhere is an error, as in one process")
    run = Run(kind, lr=0.0, accept="loss").without_training(4)
    kept, asked = whole(run.model), []

    def loss() -> float:
        asked.append(rank)
        if len(asked) == 2 and rank == world - 1:
            raise MemoryError("too large")
        return 1.0

    run.opt.loss = loss
    try:
        run.opt.step()
    except (MemoryError, RuntimeError):
        assert len(asked) == 2 and run.opt.steps == 4
    else:
        raise AssertionError("the loss's error was lost")
    assert all(torch.equal(p, kept[name]) for name, p in whole(run.model).items())
    for when in (1, 4):  # the step from which on one rank holds NaN: in an earlier state, and in the last one alone
        run = Run(kind, lr=0.0).without_training(when - 1)
        if rank == world - 1:
            spoilt = next(p for p in run.model.parameters() if local(p).numel() and p.requires_grad)
            spoilt.grad = torch.full_like(spoilt, float("nan"))
        run.opt.step()
        run.opt.base.zero_grad()
        if when == 4:
            assert run.opt.nowcasting.ranks.gather(run.opt.need_grads) == [True] * world
        run.without_training(5 - when)
        assert run.opt.counts == {"kept": 0, "put back": 0, "left out": 1}, (kind, when, run.opt.counts)


def adamw(parameters, lr: float) -> torch.optim.Optimizer:
    """Its epsilon is far above the rounding of gradients, which differs from one kind of training to another."""
    return torch.optim.AdamW(parameters, lr=lr, eps=1e-3)


def as_documented(block: int, run: Run, folder: str) -> None:
    """Save (0) or go on (1) as the guide's own code does."""
    text = (Path(__file__).parents[2] / "docs" / "scale.md").read_text(encoding="utf-8")
    code = [found for found in re.findall(r"```py\n(.*?)```", text, re.DOTALL) if "dcp." in found][block]
    exec(code, {"model": run.model, "opt": run.opt, "folder": folder})


def saves(kind: str, folder: str) -> None:
    """In the middle of a period, two of whose states are saved, with another learning rate than it began with."""
    run = Run(kind, lr=0.01, base=adamw).steps(0, 7)
    for group in run.opt.param_groups:
        group["lr"] = 0.005
    as_documented(0, run, f"{folder}/{kind}")
    run.steps(7, 12)
    assert run.opt.counts["kept"] == 2
    result = whole(run.model)
    if dist.get_rank() == 0:
        torch.save(result, f"{folder}/{kind}.pt")


def resumes(kind: str, folder: str) -> None:
    """As another kind of training, or with another number of processes, than it was saved in."""
    saved, kind = kind.split("-as-")
    run = Run(kind, lr=0.01, base=adamw)
    as_documented(1, run, f"{folder}/{saved}")
    assert run.opt.param_groups[0]["lr"] == 0.005
    assert run.opt.steps == 7 and len(run.opt.history) == 2 and run.opt.counts["kept"] == 1
    run.steps(7, 12)
    assert run.opt.counts["kept"] == 2
    found, wanted = whole(run.model), torch.load(f"{folder}/{saved}.pt")
    largest = max(float(value.abs().max()) for value in wanted.values())
    for name, value in wanted.items():
        assert (found[name] - value).abs().max() < 1e-5 * largest, (saved, kind, name)


def files_of_ranks(kind: str) -> None:
    """``state_dict`` holds a rank's own part, or all of them once they are gathered."""
    run = Run(kind, lr=0.0).without_training(7)
    rank, world = dist.get_rank(), dist.get_world_size()
    own = run.opt.state_dict()["nino"]
    assert own["share"] == [rank, world]
    try:
        get_optimizer_state_dict(run.model, run.opt)
    except ValueError as error:
        assert "opt.nowcasts" in str(error)
    else:
        raise AssertionError("it gave a part of the states for all of them")
    parts = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    run.drift(6)
    run.opt.gather_states()
    joined = run.opt.state_dict()
    box = [joined["nino"] if rank == 0 else None]
    dist.broadcast_object_list(box, 0)
    of_first = [own]
    dist.broadcast_object_list(of_first, 0)
    run.without_training(3)
    for state, kept in ((own, 2), (box[0], 2), (of_first[0], 1)):
        twin = Run(kind, lr=0.0)
        with torch.no_grad():
            for name, p in twin.model.named_parameters():
                local(p).copy_(local(parts[name]))
        twin.opt.resume(state)
        twin.drift(6)
        twin.without_training(3)
        assert twin.opt.counts["kept"] == kept and twin.opt.counts["left out"] == 2 - kept, twin.opt.counts
        if kept == 2:
            for a, b in zip(twin.model.parameters(), run.model.parameters(), strict=True):
                assert torch.equal(local(a), local(b))


def equality(kind: str) -> None:
    for predictor in (nowcaster("nino"), nowcaster("wnn+"), LineFit(), Damped()):
        equals_one_process(kind, predictor)


def rank_of(rank: int, world: int, store: str, jobs: list[str]) -> None:
    """One process: every job is WHAT:KIND, and FOLDER where it needs one."""
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=world, timeout=timedelta(seconds=SECONDS)
    )
    for job in jobs:
        what, *arguments = job.split(":")
        globals()[what](*arguments)
    dist.destroy_process_group()


def main(folder: str, *asked: str) -> None:
    """WORLD=JOB,JOB...: processes are forked from this one, which has loaded what they need."""
    torch.set_num_threads(1)
    context = mp.get_context("fork")
    for number, entry in enumerate(asked):
        world, jobs = entry.split("=")
        arguments = (int(world), f"{folder}/store{number}", jobs.replace("FOLDER", folder).split(","))
        ranks = [context.Process(target=rank_of, args=(rank, *arguments)) for rank in range(int(world))]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join()
        if any(process.exitcode for process in ranks):
            raise SystemExit(f"{entry}: exit codes {[process.exitcode for process in ranks]}")
        print(f"{entry}: fine", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
