"""The state from which a killed fit goes on: whole, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nino.evaluate.checkpoint import Checkpoint
from nino.fitting import STATE, load_state, save_state


def zero(path: Path, place: float, size: int) -> None:
    """A block of the disk that reads as zeros."""
    data = bytearray(path.read_bytes())
    first = int(place * len(data))
    data[first : first + size] = bytes(size)
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("place", [0.2, 0.5, 0.8])
def test_a_state_with_a_zeroed_block_is_refused(tmp_path: Path, place: float) -> None:
    save_state(tmp_path, {"fingerprint": {}, "weights": torch.ones(5000)})
    assert load_state(tmp_path, {})["weights"].sum() == 5000
    zero(tmp_path / STATE, place, 512)
    with pytest.raises(ValueError, match=r"training.pt: damaged \(.*is not as it was written\); delete .* to start"):
        load_state(tmp_path, {})


class Run:
    """What a checkpoint restores into."""

    training = type("Training", (), {"steps": 7})
    state: dict[str, torch.Tensor] | None = None

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        self.state = state


def test_a_run_starts_over_from_a_checkpoint_with_a_zeroed_block(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, run = tmp_path / "unfinished.pt", Run()
    torch.save({"job": "mine", "run": {"weights": torch.ones(5000)}}, path)
    Checkpoint(path, "mine", 60).restore(run)  # type: ignore[arg-type]
    assert run.state is not None and run.state["weights"].sum() == 5000
    run.state = None
    zero(path, 0.5, 512)
    Checkpoint(path, "mine", 60).restore(run)  # type: ignore[arg-type]
    assert run.state is None and "cannot be read" in caplog.text and "starting over" in caplog.text
