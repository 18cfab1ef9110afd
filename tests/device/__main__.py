"""``python -m tests.device DEVICE [STAGE...]``: a line of JSON a stage."""

from __future__ import annotations

import json
import sys
import traceback
from typing import Any

import torch

from nino.device import device_named
from tests.device import pretend
from tests.device.stages import STAGES, run


def main(name: str, *chosen: str) -> int:
    """Run stages; the number of those that failed."""
    place = pretend.install() if name == pretend.NAME else device_named(name)
    torch.set_num_threads(1)
    failed = 0
    for stage in chosen or STAGES:
        about: dict[str, Any] = {"stage": stage, "error": None}
        try:
            about |= run(stage, place)
        except Exception:
            about["error"], failed = traceback.format_exc(), failed + 1
        print(json.dumps(about), flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
