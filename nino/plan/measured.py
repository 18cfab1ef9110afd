"""Calibrations that were made elsewhere: on a GPU, to plan for it where there is none."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nino.plan.calibrate import Calibration
from nino.plan.fits import FitCalibration
from nino.plan.learned import L2OCalibration


@dataclass(frozen=True)
class Measured:
    """What ``nino plan --json`` prints, and ``make gpu`` writes to ``plan.json``.

    Args:
        device: kind of the device that they were made on.
        calibrations: by task.
        fits: by nowcaster.
        learned: by learned optimizer.
    """

    device: str
    calibrations: dict[str, Calibration]
    fits: dict[str, FitCalibration]
    learned: dict[str, L2OCalibration]

    @classmethod
    def read(cls, path: Path) -> Measured:
        """Read a file.

        Raises:
            OSError: where it cannot be read.
            ValueError: where it is none of these; names it.
        """
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                content["device"],
                {name: Calibration(**_frozen(times)) for name, times in content["calibrations"].items()},
                {name: FitCalibration(**times) for name, times in content["fits"].items()},
                {name: L2OCalibration(**times) for name, times in content["learned"].items()},
            )
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path} holds no calibrations ({type(error).__name__}: {error}): give a file of `nino plan --json`"
            ) from error


def _frozen(times: dict[str, Any]) -> dict[str, Any]:
    return times | {"scaled": tuple(times["scaled"])}
