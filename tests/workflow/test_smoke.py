from __future__ import annotations

import importlib.util
import sys
import time

from tests.workflow.driver import ROOT

spec = importlib.util.spec_from_file_location("smoke", ROOT / "workflow" / "smoke.py")
assert spec is not None and spec.loader is not None
smoke = importlib.util.module_from_spec(spec)
sys.modules["smoke"] = smoke
spec.loader.exec_module(smoke)

PRINTED = """\
Building DAG of jobs...
Select jobs to execute...
Execute 2 jobs...

[Sat Nov 21 18:13:19 2026]
Job 2: trajectories: digits-8, shard 0
[Sat Nov 21 18:13:19 2026]
Job 4: data: pydoc-2-16
Error in rule collect:
    jobid: 2
[Sat Nov 21 18:14:37 2026]
Finished jobid: 4 (Rule: data)
1 of 5 steps (20%) done
"""


def test_a_line_a_job_and_nothing_lost() -> None:
    lines = list(smoke.condense(PRINTED.splitlines(), time.monotonic() - 65))
    assert lines == ["Error in rule collect:", "    jobid: 2", "[  1 of 5  20 %  1:05] data: pydoc-2-16 (0 s)"]


def test_clock() -> None:
    assert [smoke.clock(seconds) for seconds in (0, 59.9, 60, 3601)] == ["0:00", "0:59", "1:00", "60:01"]
