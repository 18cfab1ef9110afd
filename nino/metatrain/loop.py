"""Meta-training: fitting a nowcaster to trajectories (NiNo paper, section 4)."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from nino.device import pins_memory
from nino.fitting import FitLog, cosine_decay, flattened, load_state, publish, save_state
from nino.leases import Lease, lease
from nino.metatrain.optimize import Precision, Trainer, engine_threads
from nino.metatrain.prefetch import prefetching
from nino.metatrain.sampler import Sources, WindowSampler
from nino.metatrain.training_windows import Windows
from nino.metatrain.validation import validate
from nino.nowcasters import NiNoNet, WNNPlus, build_nowcaster, save_nowcaster
from nino.provenance import git_commit, hardware, versions
from nino.ranks import Ranks
from nino.seeding import derive
from nino.specs import MetatrainSpec
from nino.trajectories.format import dumps

log = logging.getLogger(__name__)

LOG = (
    "iteration",
    "loss",
    "lr",
    "grad_norm",
    "wait_seconds",
    "seconds",
    "windows_per_second",
    "validation_loss",
    "identity_loss",
    "failures",
)
VALIDATION = ("iteration", "task", "loss", "identity_loss")


@dataclass
class Outcome:
    """The outcome of a meta-training.

    Args:
        iterations: done so far.
        best_loss: lowest validation loss; NaN where nothing was held out.
        best_iteration: iterations done when it was measured.
        identity_loss: validation loss of predicting no change.
        failures: batches skipped because their loss or gradients were not finite.
    """

    iterations: int = 0
    best_loss: float = math.nan
    best_iteration: int = 0
    identity_loss: float = math.nan
    failures: int = 0


def metatrain(
    spec: MetatrainSpec,
    sources: Sources,
    out: Path,
    *,
    device: torch.device | str | None = None,
    engine: str = "streamed",
    ranks: Ranks | None = None,
    progress: bool = True,
) -> Outcome:
    r"""Fit a nowcaster by the paper's recipe (section 4) and write its checkpoints and log to ``out``.

    Minimises the mean of :math:`|\hat w_{t+k} - w_{t+k}|` in scaled units over windows, parameters and horizons
    k = 1..K with AdamW. While the fit runs, everything is in ``out/state``; a killed fit goes on from there, with the
    same bits as if it had not been killed. At the end ``out`` holds ``best.safetensors`` (lowest validation loss),
    ``last.safetensors``, ``log.csv`` (a row per iteration) and ``validation.csv`` (a row per validation and task).

    A thread prepares batches while the device computes. In the log, ``seconds`` is the time of an iteration,
    ``wait_seconds`` the time that it waited for its batch, ``windows_per_second`` the throughput over both, and
    ``failures`` the number of batches skipped so far. Several processes (``ranks``) each take a part of every batch
    and of the validation; they add up their gradients, so that the update is that of one process, up to rounding.
    Rank 0 writes, and the logged seconds are its own. A fit may be resumed with another number of processes.

    Args:
        spec: the recipe.
        sources: graph and trajectories by task, see ``open_sources``.
        out: folder of the results.
        device: where to compute; None takes the GPU if there is one.
        engine: of the nowcaster's training loss, ``streamed`` or ``edges``.
        ranks: this process among those that fit the nowcaster together, see `nino.ranks.joined`; None is a
            process on its own.
        progress: show a bar on a terminal.

    Returns:
        Iterations, losses and failures.

    Raises:
        ValueError: for sources that do not fit the recipe, or a state in ``out`` of another meta-training.
        TrajectoryFileError: for a damaged trajectory file.
        FloatingPointError: if too many batches in a row give no finite loss or gradient.
        InUseError: where another process fits into ``out``.
    """
    ranks = ranks or Ranks()
    silent = None if progress and ranks.leads else True
    with lease(out) if ranks.leads else nullcontext() as held:
        run = _Run(spec, sources, out / "state", Precision.choose(device, spec.amp), engine, ranks, held)
        with closing(run), tqdm(total=spec.iterations, initial=run.done, desc=out.name, disable=silent) as bar:
            run.train(bar)
        if held is not None:
            held.require()
            publish(out / "state", out)
    return run.outcome


class _Run:
    """A meta-training in its working folder."""

    def __init__(
        self,
        spec: MetatrainSpec,
        sources: Sources,
        folder: Path,
        precision: Precision,
        engine: str,
        ranks: Ranks,
        held: Lease | None,
    ) -> None:
        if spec.trajectories_per_batch % ranks.world:
            raise ValueError(
                f"`trajectories_per_batch` (={spec.trajectories_per_batch}) must be a multiple of the {ranks.world} "
                "processes that share a batch: start another number of them"
            )
        self.spec = spec
        self.ranks = ranks
        self.held = held
        self.folder = folder
        self.sampler = WindowSampler(sources, spec)
        self.trainer = Trainer(fresh_nowcaster(spec, _vocabularies(sources)), spec, precision, engine, ranks)
        self.fingerprint = _fingerprint(spec, sources)
        self.origin = {
            "metatrain": dumps(spec.to_dict()),
            "trajectories": dumps(_origins(sources)),
            "networks": dumps(
                {
                    task: {"fitted_to": len(chosen), "held_out": len(self.sampler.held_out[task])}
                    for task, chosen in self.sampler.training.items()
                }
            ),
            "versions": dumps(versions()),
            "git": dumps(git_commit()),
            "hardware": dumps(hardware()),
        }
        self.outcome = Outcome()
        state = ranks.from_first(lambda: load_state(folder, self.fingerprint))
        if state is not None:
            self.trainer.load_state_dict(state["trainer"])
            self.outcome = Outcome(**state["outcome"])
            log.info("%s: going on after %d of %d iterations", folder, self.done, spec.iterations)
        until = None if state is None else self.done
        self.log: FitLog | None = None
        self.validations: FitLog | None = None
        if ranks.leads:
            folder.mkdir(parents=True, exist_ok=True)
            self.log = FitLog(folder / "log.csv", LOG, until)
            self.validations = FitLog(folder / "validation.csv", VALIDATION, until)

    @property
    def done(self) -> int:
        """Iterations done so far."""
        return self.outcome.iterations

    def train(self, bar: tqdm) -> None:
        """Run the remaining iterations."""
        pin = pins_memory(self.trainer.precision.device)

        def make(iteration: int) -> list[Windows]:
            batch = self.sampler.batch(iteration, self.ranks)
            return [windows.pin() for windows in batch] if pin else batch

        windows = self.spec.trajectories_per_batch * self.spec.windows_per_trajectory
        if self.done == 0:
            self.add(iteration=0, failures=0, **self.validate())
        threads = engine_threads(self.trainer.engine, self.trainer.precision.device)
        with threads, prefetching(make, self.done, self.spec.iterations) as batches:
            for iteration, batch, wait in batches:
                start = time.perf_counter()
                step = self.trainer.step(iteration, batch)
                seconds = time.perf_counter() - start
                self.outcome.iterations = iteration + 1
                self.outcome.failures = self.trainer.failures
                last = self.done == self.spec.iterations
                measured = self.validate() if last or self.done % self.spec.validate_every == 0 else {}
                self.add(
                    iteration=self.done,
                    loss=step.loss,
                    lr=cosine_decay(iteration, self.spec.iterations, self.spec.lr, self.spec.min_lr),
                    grad_norm=step.grad_norm,
                    wait_seconds=f"{wait:.6f}",
                    seconds=f"{seconds:.6f}",
                    windows_per_second=f"{windows / (wait + seconds):.3f}",
                    failures=self.trainer.failures,
                    **measured,
                )
                if last or self.done % self.spec.checkpoint_every == 0:
                    self.checkpoint()
                bar.set_postfix(loss=f"{step.loss:.4f}", best=f"{self.outcome.best_loss:.4f}", refresh=False)
                bar.update()

    def validate(self) -> dict[str, float]:
        """Measure the validation loss, save the nowcaster if it is the best so far; returns cells of the log."""
        losses = validate(self.trainer.net, self.sampler, self.trainer.precision, self.trainer.engine, self.ranks)
        if losses is None:
            return {}
        if self.validations is not None:
            for task, loss in losses.loss.items():
                self.validations.add(iteration=self.done, task=task, loss=loss, identity_loss=losses.identity[task])
        outcome = self.outcome
        outcome.identity_loss = losses.mean_identity
        if math.isnan(outcome.best_loss) or losses.mean_loss < outcome.best_loss:
            outcome.best_loss, outcome.best_iteration = losses.mean_loss, self.done
            self.save_net("best")
        if self.ranks.leads:
            log.info("%d: validation %.5f, no change %.5f", self.done, losses.mean_loss, losses.mean_identity)
        return {"validation_loss": losses.mean_loss, "identity_loss": losses.mean_identity}

    def add(self, **row: object) -> None:
        """Add a row to the log."""
        if self.log is not None:
            self.log.add(**row)

    def checkpoint(self) -> None:
        """Save the nowcaster, then the state that a resumed run starts from."""
        if self.held is None:  # another rank writes
            return
        self.held.require()
        self.save_net("last")
        if math.isnan(self.outcome.best_loss):  # nothing was held out, so the last nowcaster counts as the best
            self.save_net("best")
        save_state(
            self.folder,
            {"fingerprint": self.fingerprint, "trainer": self.trainer.state_dict(), "outcome": vars(self.outcome)},
        )

    def save_net(self, name: str) -> None:
        """Write the nowcaster as a checkpoint that records what it was fitted to."""
        if not self.ranks.leads:
            return
        extra = {"iteration": str(self.done), "best_validation_loss": repr(self.outcome.best_loss)}
        save_nowcaster(self.trainer.net, self.folder / f"{name}.safetensors", self.origin | extra)

    def close(self) -> None:
        """Close the tables."""
        for table in (self.log, self.validations):
            if table is not None:
                table.close()


def fresh_nowcaster(spec: MetatrainSpec, vocabularies: Iterable[int]) -> NiNoNet | WNNPlus:
    """The nowcaster before the first iteration of its fit.

    Args:
        spec: the recipe; the model option ``word_positions: true`` gives the nowcaster a word position for each word of
            the largest vocabulary.
        vocabularies: sizes of the language tasks' vocabularies.
    """
    options: dict[str, Any] = dict(spec.model)
    if isinstance(options.get("word_positions"), bool):
        options["word_positions"] = max(vocabularies, default=0) if options["word_positions"] else 0
    options |= {"context": spec.context, "max_horizon": spec.max_horizon, "scaled": spec.scaling != "none"}
    return build_nowcaster(spec.kind, seed=derive(spec.seed, "init"), **options)


def _vocabularies(sources: Sources) -> list[int]:
    return [graph.word_nodes.size for graph, _ in sources.values() if graph.word_nodes is not None]


def _origins(sources: Sources) -> dict[str, dict[str, Any]]:
    """What each task's trajectories are, as recorded in checkpoints."""
    return {
        task: {
            "task": reader.task.to_dict(),
            "trajectories": reader.header.trajectories.to_dict(),
            "data_checksum": reader.header.data_checksum,
            "topology": graph.topology,
        }
        for task, (graph, reader) in sources.items()
    }


def _fingerprint(spec: MetatrainSpec, sources: Sources) -> dict[str, str]:
    """What a saved state must have been made from for this fit to resume from it."""
    diverged = {task: reader.seeds[reader.diverged].tolist() for task, (_, reader) in sources.items()}
    return flattened({"recipe": spec.to_dict(), "sources": _origins(sources), "diverged": diverged})
