"""Where every number comes from: a row a run, with the command that makes it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import pandas as pd

from nino.config.layout import Layout
from nino.report.runs import Key, Runs
from nino.report.table import EMPTY, Table, number, once, text_frame
from nino.specs import ReportSpec


def origins_table(runs: Runs) -> Table:
    """Each planned run: what became of it, the commit, machine and data it was made from, and its command."""
    rows = [_origin(runs, row) for row in runs.frame.to_dict("records")]
    text = []
    for row in rows:
        commit = f"{row['commit'][:10]}{' + changes' if row['dirty'] else ''}" if row["commit"] else EMPTY
        text.append(
            {
                "Task": row["task"],
                "Method": runs.spec.label(row["method"]),
                "Seed": str(row["seed"]),
                "Steps to target": number(row["steps"]) if row["status"] == "done" else row["status"],
                "Command": row["command"],
                "Commit": commit,
                "Machine": row["machine"] or EMPTY,
                "Data": (row["data"] or EMPTY)[:10],
            }
        )
    frame = text_frame(text)
    if len(frame):
        frame["Task"] = once(frame["Task"])
    return Table(
        name="origins",
        title="Where each number comes from",
        data=pd.DataFrame(rows),
        text=frame,
        rules=tuple(i for i in range(1, len(rows)) if rows[i]["task"] != rows[i - 1]["task"]),
        notes=(
            "A cell of the other tables is a statistic of these runs: those of its task and method, and of the "
            f"baseline with the same seeds. Each command makes its run again, at the commit that stands beside it: "
            f"{_from_what(runs.spec)}.",
            "Data: the first digits of the SHA-256 of the data set, splits included; manifest.json has the whole, the "
            "versions of all packages and the checksums of logs, weights, tables and figures.",
        ),
    )


def _origin(runs: Runs, row: Mapping[Any, Any]) -> dict[str, Any]:
    key = Key(row["task"], row["method"], row["seed"])
    origin: Mapping[str, Any] = runs.info.get(key, {}).get("provenance") or {}
    git, hardware, inputs = (origin.get(name) or {} for name in ("git", "hardware", "inputs"))
    return {
        **key._asdict(),
        "status": row["status"],
        "steps": row["steps"],
        "command": shlex.join(["nino", "evaluate", *_arguments(runs.spec, key, inputs.get("nowcaster"))]),
        "commit": git.get("commit", ""),
        "dirty": git.get("dirty"),
        "machine": _machine(hardware),
        "data": inputs.get("data", ""),
    }


def _arguments(spec: ReportSpec, key: Key, weights: Any) -> list[str]:
    """What ``nino evaluate`` is told: config files and names where files are all that the config was made of."""
    data = [] if spec.task(key.task).data.source == "embedded" else ["--data-dir", "FOLDER"]
    if spec.overlays is not None:
        files = [word for path in spec.overlays for word in ("--config", path)]
        return [*files, "--task", key.task, "--method", key.method, "--seed", str(key.seed), *data]
    paths = Layout(spec.run)
    told = ["--nowcaster", str(weights["path"])] if isinstance(weights, Mapping) else []
    out = paths.evaluation(key.task, key.method, key.seed)
    return [paths.evaluation_spec(key.task, key.method), "--seed", str(key.seed), *told, "--out", out, *data]


def _from_what(spec: ReportSpec) -> str:
    """What the commands read, in words."""
    source = (
        "from the resolved spec file that it names, which Snakemake writes"
        if spec.overlays is None
        else "in a checkout, from the config; weights that the run fitted are read from its folder"
    )
    embedded = all(task.data.source == "embedded" for task in spec.tasks)
    return source if embedded else f"{source}. FOLDER is where the data sets are"


def _machine(hardware: Mapping[str, Any]) -> str:
    """The GPUs, or the processor and how many of its cores there were."""
    if hardware.get("gpus"):
        return ", ".join(str(gpu) for gpu in hardware["gpus"])
    return f"{hardware['cpu']}, {hardware.get('cores', '?')} cores" if hardware.get("cpu") else ""
