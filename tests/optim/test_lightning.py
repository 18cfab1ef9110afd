"""Lightning's Trainer drives the wrapper as any optimizer: closures, schedulers, checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from nino.nowcasters import LineFit
from nino.optim import NiNo
from nino.tasks.torchvision_ops import declare_missing_operators

declare_missing_operators()  # Lightning's metrics import torchvision
lightning = pytest.importorskip("pytorch_lightning")
pytestmark = pytest.mark.filterwarnings("ignore")
STEPS = 25


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1))


def batches() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [(x, x.sum(1, keepdim=True).sin()) for x in torch.randn(STEPS, 16, 6, generator=generator)]


def optimizer(model: nn.Module) -> NiNo:
    base = torch.optim.Adam(model.parameters(), lr=1e-2)
    return NiNo(base, model=model, nowcaster=LineFit(), period=10, max_train_steps=STEPS)


class Regression(lightning.LightningModule):
    """A network, its loss, and the wrapper with a scheduler on it."""

    def __init__(self) -> None:
        """Make the network."""
        super().__init__()
        self.net = network()
        self.batches = batches()

    def training_step(self, _: Any) -> Tensor:
        """The loss of the step's batch: a resumed trainer's loader begins anew."""
        x, y = self.batches[self.global_step]
        return mse_loss(self.net(x), y)

    def configure_optimizers(self) -> dict[str, Any]:
        """As a user writes it."""
        opt = optimizer(self.net)
        schedule = {"scheduler": torch.optim.lr_scheduler.ExponentialLR(opt, 0.99), "interval": "step"}
        return {"optimizer": opt, "lr_scheduler": schedule}


def trainer(folder: Path, steps: int) -> Any:
    about = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return lightning.Trainer(
        accelerator="cpu", devices=1, max_steps=steps, default_root_dir=folder, enable_checkpointing=True, **about
    )


def fit(folder: Path, steps: int, resume: Path | None = None) -> tuple[Regression, NiNo, Any]:
    module, driver = Regression(), trainer(folder, steps)
    driver.fit(module, torch.utils.data.DataLoader(torch.zeros(STEPS)), ckpt_path=resume)
    return module, driver.optimizers[0], driver


def test_the_trainer_s_steps_are_those_of_a_loop(tmp_path: Path) -> None:
    net = network()
    opt = optimizer(net)
    schedule = torch.optim.lr_scheduler.ExponentialLR(opt, 0.99)
    for x, y in batches():
        opt.zero_grad()
        mse_loss(net(x), y).backward()
        opt.step()
        schedule.step()
    module, seen, _ = fit(tmp_path, STEPS)
    assert seen.counts == opt.counts and seen.counts["kept"] == 2
    for mine, loop in zip(module.net.parameters(), net.parameters(), strict=True):
        assert torch.equal(mine, loop)


def test_a_checkpoint_goes_on_to_the_bit(tmp_path: Path) -> None:
    whole, opt, _ = fit(tmp_path / "whole", STEPS)
    _, _, driver = fit(tmp_path / "half", 14)  # between two nowcasts
    driver.save_checkpoint(tmp_path / "half.ckpt")
    resumed, again, _ = fit(tmp_path / "rest", STEPS, tmp_path / "half.ckpt")
    assert again.counts == opt.counts and again.steps == opt.steps == STEPS
    for mine, other in zip(resumed.net.parameters(), whole.net.parameters(), strict=True):
        assert torch.equal(mine, other)
