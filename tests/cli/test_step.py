"""``nino step``: one nowcast from the checkpoints of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

BUILDER = """
from torch import nn

def build():
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))

def build_with_example():
    import torch
    return build(), torch.zeros(1, 3)
"""


@pytest.fixture
def run(workplace: Path) -> Path:
    """Five checkpoints on a line, and a module that builds their model."""
    (workplace / "ownnet.py").write_text(BUILDER)
    folder = workplace / "out"
    folder.mkdir()
    torch.manual_seed(0)
    start = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)).state_dict()
    for n in range(1, 6):
        torch.save({name: value + n for name, value in start.items()}, folder / f"step_{n * 20}.pt")
    return folder


def test_it_writes_the_nowcast_checkpoint(nino, run):
    ended = nino("step", run, "--nowcaster", "linear", "--k", 3, "--model", "ownnet:build")
    assert ended.code == 0, ended.err
    written = run / "nowcast" / "step_100.pt"
    assert str(written) in ended.out and "k = 3" in ended.out
    last, ahead = (torch.load(path, weights_only=True) for path in (run / "step_100.pt", written))
    for name, value in last.items():
        torch.testing.assert_close(ahead[name], value + 3)


def test_a_gap_and_a_wrong_model_are_errors_in_one_line(nino, run):
    ended = nino("step", run, "--nowcaster", "linear", "--k", 3, "--model", "ownnet:nothing")
    assert ended.code == 2 and "--model (=ownnet:nothing)" in ended.err and "Traceback" not in ended.err
    ended = nino("step", run, "--nowcaster", "linear", "--k", 3, "--model", "ownnet:build", "--still", "stay")
    assert ended.code == 2 and "'stay' is not one of 'keep', 'predict'" in ended.err and "Traceback" not in ended.err
    (run / "step_60.pt").unlink()
    ended = nino("step", run, "--nowcaster", "linear", "--k", 3, "--model", "ownnet:build")
    assert ended.code == 1 and "only 4 checkpoints" in ended.err
    assert not (run / "nowcast").exists()


def test_files_by_name_and_merging(nino, run):
    files = [
        (run / f"step_{n}.pt").rename(run / f"kept-{name}.pt") for n, name in zip((20, 40, 60), "abc", strict=True)
    ]
    asked = ("--nowcaster", "linear", "--model", "ownnet:build_with_example", "--unknown", "carry")
    ended = nino("step", *files, *asked, "--k", 2)
    assert ended.code == 0, ended.err
    first, *_, last = (torch.load(path, weights_only=True) for path in files)
    ahead = torch.load(run / "nowcast" / "kept-c.pt", weights_only=True)
    merged = run / "merged.pt"
    ended = nino("merge", *files, *asked, "--out", merged, "--horizons", "1-3", "--update-scale", 0.5)
    assert ended.code == 0 and "2 models merged" in ended.out, ended.err
    for name, value in torch.load(merged, weights_only=True).items():
        torch.testing.assert_close(ahead[name], last[name] + 2)
        torch.testing.assert_close(value, first[name] + 3)  # 2 + half of the mean of 1, 2 and 3
    ended = nino("merge", *files, *asked, "--out", run / "x.pt", "--horizons", "1,3")
    assert ended.code == 2 and "--horizons (=1,3)" in ended.err
