"""Where everything of a run lies. Rules and the command line both ask here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self


@dataclass(frozen=True)
class Layout:
    """Paths of one run, relative to the working directory; wildcards may stand for names.

    Args:
        run: name of the run.
        results: folder of all runs.

    >>> Layout("smoke").evaluation("digits-8", "nino", 1000)
    'results/smoke/evaluate/digits-8/nino/seed=1000'
    >>> Layout("smoke").shard("{task}", "{shard}")
    'results/smoke/trajectories/{task}/shard={shard}.h5'
    """

    run: str
    results: str = "results"

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Paths below a run's folder, wherever it lies."""
        return cls(folder.name, folder.parent.as_posix())

    @property
    def root(self) -> str:
        """Folder of the run."""
        return f"{self.results}/{self.run}"

    def under(self, *parts: str) -> str:
        """A path below the run's folder."""
        return str(PurePosixPath(self.root, *parts))

    def task_spec(self, task: str) -> str:
        """Resolved spec of a task."""
        return self.under("specs", "tasks", f"{task}.json")

    def trajectory_spec(self, task: str) -> str:
        """Resolved spec of a task's trajectories."""
        return self.under("specs", "trajectories", f"{task}.json")

    def metatrain_spec(self, nowcaster: str) -> str:
        """Resolved spec of a fit."""
        return self.under("specs", "metatrain", f"{nowcaster}.json")

    def l2o_spec(self, optimizer: str) -> str:
        """Resolved spec of a learned optimizer's fit."""
        return self.under("specs", "l2o", f"{optimizer}.json")

    def evaluation_spec(self, task: str, method: str) -> str:
        """Resolved spec of a task's runs with a method."""
        return self.under("specs", "evaluate", task, f"{method}.json")

    def study_spec(self, study: str) -> str:
        """Resolved spec of a study."""
        return self.under("specs", "studies", f"{study}.json")

    def study_manifest(self, study: str) -> str:
        """Where every number of a study comes from."""
        return self.under("manifests", f"{study}.json")

    @property
    def report_spec(self) -> str:
        """Resolved spec of tables and figures."""
        return self.under("specs", "report.json")

    @property
    def config(self) -> str:
        """The whole config as resolved."""
        return self.under("specs", "config.json")

    def code(self, stage: str) -> str:
        """Version of a stage's code."""
        return self.under("specs", "code", f"{stage}.txt")

    def data(self, task: str) -> str:
        """Record of a task's data: sizes, checksum."""
        return self.under("data", f"{task}.json")

    def shard(self, task: str, shard: int | str) -> str:
        """States of the networks that one job trained."""
        return self.under("trajectories", task, f"shard={shard}.h5")

    def dataset(self, task: str) -> str:
        """A task's shards as one data set."""
        return self.under("trajectories", f"{task}.h5")

    def datasheet(self, task: str) -> str:
        """What that data set holds, in words and numbers."""
        return self.under("trajectories", f"{task}.md")

    def fit(self, nowcaster: str) -> str:
        """Folder of a fitted nowcaster."""
        return self.under("metatrain", nowcaster)

    def checkpoint(self, nowcaster: str) -> str:
        """Best checkpoint of a fitted nowcaster."""
        return f"{self.fit(nowcaster)}/best.safetensors"

    def card(self, nowcaster: str) -> str:
        """What that nowcaster is, in words and numbers."""
        return f"{self.fit(nowcaster)}/README.md"

    def l2o(self, optimizer: str) -> str:
        """Folder of a learned optimizer."""
        return self.under("l2o", optimizer)

    def l2o_checkpoint(self, optimizer: str) -> str:
        """Best checkpoint of a learned optimizer."""
        return f"{self.l2o(optimizer)}/best.safetensors"

    def evaluation(self, task: str, method: str, seed: int | str) -> str:
        """Folder of one training run."""
        return self.under("evaluate", task, method, f"seed={seed}")

    @property
    def tables(self) -> str:
        """Folder of tables."""
        return self.under("tables")

    @property
    def figures(self) -> str:
        """Folder of figures."""
        return self.under("figures")

    @property
    def manifest(self) -> str:
        """Where every number of the run comes from."""
        return self.under("manifest.json")

    def log(self, *parts: str) -> str:
        """Log of a job."""
        return self.under("logs", *parts) + ".log"

    def benchmark(self, *parts: str) -> str:
        """Seconds and memory of a job, as Snakemake measured them."""
        return self.under("logs", *parts) + ".tsv"
