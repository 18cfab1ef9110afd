"""What a plan says: its rows, and the calibrations that they come from."""

from __future__ import annotations

from dataclasses import dataclass, field

from nino.plan.calibrate import Calibration
from nino.plan.disk import Need
from nino.plan.fits import FitCalibration
from nino.plan.learned import L2OCalibration

STAGES = ("data", "trajectories", "metatrain", "evaluate", "report")


@dataclass(frozen=True)
class Row:
    """The cost of one part of a stage.

    Args:
        stage: of ``STAGES``.
        name: task, nowcaster or run.
        jobs: number of jobs of the workflow.
        seconds: of all its jobs together, each on one GPU or one core; None where unknown.
        longest: seconds of the longest job.
        size: disk space of its results, at most [bytes]; None where unknown.
        memory: of its largest job, at most [bytes].
    """

    stage: str
    name: str
    jobs: int
    seconds: float | None = None
    longest: float | None = None
    size: int | None = None
    memory: int | None = None


@dataclass
class Plan:
    """The cost of a run.

    Args:
        run: its name.
        device: on which it was calibrated, ``cpu`` (one core a job) or an accelerator's name.
        rows: parts, in the order of the stages.
        needs: disk space by part.
        notes: what was estimated and how, and what is unknown.
        calibrations: by task.
        fits: calibrations by nowcaster.
        learned: by learned optimizer.
    """

    run: str
    device: str
    rows: list[Row] = field(default_factory=list)
    needs: list[Need] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    calibrations: dict[str, Calibration] = field(default_factory=dict)
    fits: dict[str, FitCalibration] = field(default_factory=dict)
    learned: dict[str, L2OCalibration] = field(default_factory=dict)
