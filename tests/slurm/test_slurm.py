"""`snakemake --profile slurm` on a real scheduler, by the scheduler's own records."""

from __future__ import annotations

import csv
import json
import re
import shlex
import subprocess

import pytest

from nino.release.releases import verify
from tests.slurm.conftest import OnCluster, Record
from tests.workflow.driver import ROOT

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1200)]

NO_GPU = ("data", "merge", "tables", "figures", "manifest")


def second_driver(run: OnCluster) -> list[Record]:
    return run.records[run.killed_at :]


def of(run: OnCluster, name: str) -> list[Record]:
    """Records of a rule or group, by the comment that Snakemake gives its jobs."""
    return [r for r in run.records if r["Comment"].startswith(f"rule_{name}_") or r["Comment"] == f"rule_{name}"]


def test_everything_is_done(on_cluster: OnCluster) -> None:
    assert on_cluster.code == 0, on_cluster.text[-6000:]
    results = on_cluster.folder / "results" / "cluster"
    manifest = json.loads((results / "manifest.json").read_text())
    assert {entry["status"] for entry in manifest["runs"].values()} == {"done"} and len(manifest["runs"]) == 6
    assert not [path for path in results.rglob("*") if path.name.endswith(".part")]
    assert verify(results) == []


def test_every_job_ran_on_the_cluster(on_cluster: OnCluster) -> None:
    done = [r for r in on_cluster.records if r["JobState"] == "COMPLETED"]
    for name, count in {"data": 2, "collect": 2, "merge": 1, "metatrain": 1, "tables": 1, "figures": 1}.items():
        assert len([r for r in of(on_cluster, name) if r in done]) == count, name


def test_jobs_ask_for_the_gpu_of_their_rule(on_cluster: OnCluster) -> None:
    for name in ("collect", "metatrain", "convnet", "convnet-fitted"):
        assert of(on_cluster, name)
        for record in of(on_cluster, name):
            assert record["TresPerJob"] == "gres:gpu:rtx8000:1" and record["Partition"] == "gpu"
    for name in ("default", "default-fitted"):
        assert {r["TresPerJob"] for r in of(on_cluster, name)} == {"gres:gpu:a100:1"}
    for name in NO_GPU:
        assert of(on_cluster, name)
        for record in of(on_cluster, name):
            assert "TresPerJob" not in record and record["Partition"] == "cpu"


def test_the_documented_column_shows_the_gpu_of_a_job(on_cluster: OnCluster) -> None:
    (command,) = re.findall(r"^squeue --me .*$", (ROOT / "docs" / "cluster.md").read_text(), re.MULTILINE)
    shown = subprocess.run([*shlex.split(command), "--states=all"], capture_output=True, text=True, timeout=20).stdout
    heading, *lines = shown.splitlines()
    column = slice(heading.index("TRES_PER_JOB"), heading.index("COMMENT"))
    assert {line[column].strip() for line in lines if "rule_metatrain_" in line} == {"gres:gpu:rtx8000:1"}
    assert {line[column].strip() for line in lines if "rule_data_" in line} == {"N/A"}


def test_trainings_share_entries_that_a_node_can_hold(on_cluster: OnCluster) -> None:
    entries = [r for r in second_driver(on_cluster) if r["Comment"].endswith("_evaluate")]
    assert len(entries) <= 4, "6 trainings"
    for record in on_cluster.records:
        assert record["NumCPUs"] == "1" and int(record["MinMemoryNode"].rstrip("M")) <= 64000


def test_a_cancelled_job_is_submitted_again_with_more(on_cluster: OnCluster) -> None:
    first = next(r for r in on_cluster.records if r["JobId"] == on_cluster.cancelled)
    assert first["JobState"] == "CANCELLED"
    again = [r for r in second_driver(on_cluster) if r["Comment"] == first["Comment"] and r is not first]
    assert [r["JobState"] for r in again] == ["COMPLETED"]
    assert (first["MinMemoryNode"], again[0]["MinMemoryNode"]) == ("4000M", "8000M")
    assert (first["TimeLimit"], again[0]["TimeLimit"]) == ("1-00:00:00", "2-00:00:00")


def test_a_killed_driver_is_followed_by_another_that_goes_on(on_cluster: OnCluster) -> None:
    done = [r["Comment"] for r in on_cluster.records[: on_cluster.killed_at] if r["JobState"] == "COMPLETED"]
    assert "rule_data_wildcards_digits-2" in done, "collect waits for it"
    assert not {r["Comment"] for r in second_driver(on_cluster)} & set(done)


def test_a_second_driver_is_refused(on_cluster: OnCluster) -> None:
    assert "cannot be locked" in on_cluster.refused


def test_what_slurm_kills_each_time_is_a_row_with_its_reason_and_the_others_complete(doomed: OnCluster) -> None:
    assert doomed.code == 0, doomed.text[-6000:]
    results = doomed.folder / "results" / "doomed"
    with (results / "tables" / "table2.csv").open() as file:
        rows = {row["task"]: row for row in csv.DictReader(file)}
    failed = {task: row["seeds_diverged_or_failed"] for task, row in rows.items()}
    assert failed == {"digits-2": "0", "endless": "1", "too-large": "1"}
    assert rows["digits-2"]["steps_mean"]
    said = (results / "tables" / "table2.md").read_text()
    assert "endless, Adam, seed 1000: failed (killed: its wall time ran out (SLURM job" in said
    assert "too-large, Adam, seed 1000: failed (killed: most likely its memory ran out (SLURM job" in said
    assert sorted(r["JobState"] for r in of(doomed, "convnet")) == [*["COMPLETED"] * 3, "FAILED", "TIMEOUT"]
