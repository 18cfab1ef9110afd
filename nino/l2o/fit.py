"""Fitting a learned optimizer: an update after each truncated unroll of a training."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from nino.fitting import FitLog, cosine_decay, flattened, load_state, publish, save_state
from nino.l2o.net import L2ONet, save_l2o
from nino.l2o.optimizer import L2O
from nino.leases import Lease, lease
from nino.provenance import git_commit, versions
from nino.seeding import derive
from nino.specs import L2OSpec
from nino.tasks import Task
from nino.training import Training
from nino.trajectories.format import dumps

log = logging.getLogger(__name__)

LOG = ("iteration", "loss", "lr", "grad_norm", "seconds", "validation_loss", "failures")
# Failures in a row after which the learned optimizer, not the trainings, must be at fault.
MAX_CONSECUTIVE_FAILURES = 50


@dataclass
class Outcome:
    """The outcome of a fit.

    Args:
        iterations: done so far.
        best_loss: lowest validation loss, the mean of a training's losses.
        best_iteration: iterations done when it was measured.
        first_loss: that of the optimizer before it has learned anything, which moves no parameter.
        failures: unrolls skipped because their loss or gradient was not finite.
    """

    iterations: int = 0
    best_loss: float = math.inf
    best_iteration: int = 0
    first_loss: float = math.nan
    failures: int = 0


def fit_l2o(spec: L2OSpec, task: Task, out: Path, *, progress: bool = True) -> Outcome:
    """Fit a learned optimizer to trainings of a task and write ``best.safetensors``, ``last.safetensors``, ``log.csv``.

    Each iteration continues one of several trainings for a few steps and takes the gradient of the sum of their losses
    with respect to the learned optimizer's parameters (see `L2O`). A killed fit goes on with the same bits as if it
    had not been killed.

    Args:
        spec: the recipe.
        task: whose networks and batches it learns from, on the device where that happens.
        out: folder of the results; ``out/state`` while it runs.
        progress: show a bar on a terminal.

    Returns:
        Iterations, losses and failures.

    Raises:
        ValueError: for a state in ``out`` of another fit.
        FloatingPointError: if too many unrolls in a row give no finite loss or gradient.
        InUseError: where another process fits into ``out``.
    """
    with lease(out) as held:
        run = _Fit(spec, task, out / "state", held)
        with tqdm(
            total=spec.iterations, initial=run.outcome.iterations, desc=out.name, disable=None if progress else True
        ) as bar:
            try:
                while run.outcome.iterations < spec.iterations:
                    run.iterate()
                    bar.set_postfix(best=f"{run.outcome.best_loss:.4f}", refresh=False)
                    bar.update()
            finally:
                run.log.close()
        held.require()
        publish(out / "state", out)
    return run.outcome


class _Fit:
    """A fit in its working folder."""

    def __init__(self, spec: L2OSpec, task: Task, folder: Path, held: Lease) -> None:
        self.spec, self.task, self.folder, self.held = spec, task, folder, held
        self.net = L2ONet(spec.hidden, derive(spec.seed, "init")).to(task.device)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=spec.lr, weight_decay=0.0)
        self.lives = [0] * spec.trainings
        self.trainings: list[Training] = []
        self.consecutive = 0
        self.outcome = Outcome()
        about = {"recipe": spec.to_dict(), "task": task.spec.to_dict(), "data": task.data_checksum}
        self.fingerprint = flattened(about)
        self.origin = {name: dumps(value) for name, value in about.items()}
        self.origin |= {"versions": dumps(versions()), "git": dumps(git_commit())}
        folder.mkdir(parents=True, exist_ok=True)
        state = load_state(folder, self.fingerprint)
        if state is not None:
            self._load(state)
        self.trainings = self.trainings or [self._training(i) for i in range(spec.trainings)]
        self.log = FitLog(folder / "log.csv", LOG, None if state is None else self.outcome.iterations)
        if state is None:
            loss = self.outcome.first_loss = self._validate()
            self.log.add(iteration=0, validation_loss=loss, failures=0)

    def iterate(self) -> None:
        """Do an unroll and an update, then log, validate and checkpoint as due."""
        iteration, spec = self.outcome.iterations, self.spec
        start = time.perf_counter()
        loss, norm = self._unroll(iteration)
        seconds = time.perf_counter() - start
        self.outcome.iterations = done = iteration + 1
        measured = {}
        if done % spec.validate_every == 0 or done == spec.iterations:
            measured["validation_loss"] = validation_loss = self._validate()
            if validation_loss < self.outcome.best_loss:
                self.outcome.best_loss, self.outcome.best_iteration = validation_loss, done
                self._save("best")
            log.info("%d: validation %.5f, best %.5f", done, validation_loss, self.outcome.best_loss)
        self.log.add(
            iteration=done,
            loss=loss,
            lr=cosine_decay(iteration, spec.iterations, spec.lr),
            grad_norm=norm,
            seconds=f"{seconds:.6f}",
            failures=self.outcome.failures,
            **measured,
        )
        if done % spec.checkpoint_every == 0 or done == spec.iterations:
            self._checkpoint()

    def _unroll(self, iteration: int) -> tuple[float, float]:
        """Take some steps of a training and learn from them; returns their mean loss and the gradient norm."""
        which = iteration % self.spec.trainings
        training = self.trainings[which]
        loss, objective = unroll(training, self.spec.unroll)
        self.optimizer.zero_grad()
        objective.backward()
        for group in self.optimizer.param_groups:
            group["lr"] = cosine_decay(iteration, self.spec.iterations, self.spec.lr)
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), self.spec.clip_norm).item()
        if math.isfinite(loss) and math.isfinite(norm):
            self.consecutive = 0
            self.optimizer.step()
        else:
            self._fail(iteration, loss, norm)
        if not math.isfinite(loss) or training.steps >= self._length(which):
            self.lives[which] += 1
            self.trainings[which] = self._training(which)
        return loss, norm

    def _fail(self, iteration: int, loss: float, norm: float) -> None:
        self.outcome.failures += 1
        self.consecutive += 1
        log.warning("iteration %d: loss %g, gradient norm %g: skipped", iteration, loss, norm)
        if self.consecutive >= MAX_CONSECUTIVE_FAILURES:
            raise FloatingPointError(
                f"{self.consecutive} unrolls in a row, up to {iteration}, gave a loss or gradient that is not finite: "
                f"lower `lr` (={self.spec.lr}) or `unroll` (={self.spec.unroll})"
            )

    def _seed(self, which: int) -> int:
        """The seed of the current training number ``which``: derived, unlike the seeds of runs, which count from 0."""
        return derive(self.spec.seed, f"training {which}, life {self.lives[which]}")

    def _length(self, which: int) -> int:
        """Steps after which the current training number ``which`` ends and another takes its place."""
        low, high = math.log(self.spec.unroll), math.log(max(self.spec.max_steps, self.spec.unroll))
        return round(math.exp(np.random.default_rng(self._seed(which)).uniform(low, high)))

    def _training(self, which: int) -> Training:
        return start(self.task, self._seed(which), self.net)

    @torch.no_grad()
    def _validate(self) -> float:
        """The mean loss of a training with a seed of its own; infinite if a loss is not finite."""
        training = start(self.task, derive(self.spec.seed, "validation"), self.net)
        with torch.enable_grad():
            losses = [torch.as_tensor(training.step()) for _ in range(self.spec.validation_steps)]
        mean = torch.stack(losses).mean().item()
        return mean if math.isfinite(mean) else math.inf

    def _save(self, name: str) -> None:
        extra = {"iteration": str(self.outcome.iterations), "best_validation_loss": repr(self.outcome.best_loss)}
        save_l2o(self.net, self.folder / f"{name}.safetensors", self.origin | extra)

    def _checkpoint(self) -> None:
        self.held.require()
        self._save("last")
        if self.outcome.best_iteration == 0:  # no validation yet, or none was finite
            self._save("best")
        state = {
            "fingerprint": self.fingerprint,
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "lives": self.lives,
            "trainings": [training.state_dict() for training in self.trainings],
            "consecutive": self.consecutive,
            "outcome": vars(self.outcome),
        }
        save_state(self.folder, state)

    def _load(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.lives, self.consecutive = list(state["lives"]), state["consecutive"]
        self.outcome = Outcome(**state["outcome"])
        for which, saved in enumerate(state["trainings"]):
            self.trainings.append(self._training(which))
            self.trainings[-1].load_state_dict(saved)
        log.info("%s: going on after %d of %d iterations", self.folder, self.outcome.iterations, self.spec.iterations)


def start(task: Task, seed: int, net: L2ONet) -> Training:
    """A training whose updates a learned optimizer makes, in place of the recipe's.

    Args:
        task: what is trained.
        seed: of initialisation and batch order, as for every other method.
        net: the learned optimizer, on the task's device.

    Returns:
        The training before its first step.
    """
    return Training(task, seed, lambda base, model: L2O(model.parameters(), net))


def unroll(training: Training, steps: int) -> tuple[float, Tensor]:
    """Take some steps of a training by a learned optimizer, and record how they depend on its parameters.

    Args:
        training: by a learned optimizer, see ``start``.
        steps: of the unroll.

    Returns:
        The mean loss of the steps, and a scalar whose gradient teaches the learned optimizer (see `L2O`).
    """
    optimizer: Any = training.optimizer
    optimizer.open_unroll()
    losses = torch.stack([torch.as_tensor(training.step()) for _ in range(steps)])
    objective: Tensor = optimizer.close_unroll()
    return losses.mean().item(), objective
