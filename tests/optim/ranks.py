"""What the two processes of the distributed test do."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from tests.optim.helpers import Const, Line, Training, graph_without_edges, small_model


class OnlyRankZero(Line):
    """Each rank would predict something else: only one may be asked."""

    def predict(self, graph, states, k, **options):
        assert dist.get_rank() == 0
        return super().predict(graph, states, k) + 0.01 * torch.rand(states.shape[0])


class Fails(Line):
    def predict(self, graph, states, k, **options):
        raise MemoryError("too large")


def start(model=None, **options):
    bare = model or small_model()
    run = Training(model=bare, graph=graph_without_edges(bare), **options)
    run.model = DistributedDataParallel(bare)
    run.done = dist.get_rank()
    return run, bare


def same_everywhere(run):
    every = [torch.empty_like(run.flat()) for _ in range(2)]
    dist.all_gather(every, run.flat())
    assert torch.equal(every[0], every[1])


def scenarios(rank: int) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        run, _ = start(small_model().to(dtype), nowcaster=OnlyRankZero(), loss=True)
        for _ in range(25):
            run.step()
            same_everywhere(run)
        assert run.opt.counts["kept"] == 2
        assert (run.opt.history.nbytes > 0) == (rank == 0)
        records = [None, None]
        dist.all_gather_object(records, (run.opt.last_nowcast.loss_before, run.opt.last_nowcast.loss_after))
        assert records[0] == records[1]

    # rank 0's state serves both; the run then goes on as if it had not stopped
    state = [run.opt.state_dict() if rank == 0 else None]
    dist.broadcast_object_list(state, 0)
    twin, bare = start(small_model().to(torch.bfloat16), nowcaster=OnlyRankZero(), loss=True)
    bare.load_state_dict(run.model.module.state_dict())
    twin.opt.load_state_dict(state[0])
    twin.done = run.done
    same_everywhere(twin.run(10))
    assert twin.opt.steps == 35 and twin.opt.counts["kept"] == 3

    rejecting, _ = start(nowcaster=Const(50.0), accept="loss", loss=True)
    same_everywhere(rejecting.run(12))
    assert rejecting.opt.counts["put back"] == 1

    failing, _ = start(nowcaster=Fails())
    failing.run(9)
    before = failing.flat()
    expected = MemoryError if rank == 0 else RuntimeError
    try:
        failing.step()
    except (MemoryError, RuntimeError) as error:
        assert isinstance(error, expected) and "too large" in str(error)
    else:
        raise AssertionError("the nowcaster's error was lost")
    assert torch.equal(before, failing.flat())
    same_everywhere(failing)


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    try:
        scenarios(dist.get_rank())
    finally:
        dist.destroy_process_group()
