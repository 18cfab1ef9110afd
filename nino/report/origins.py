"""Where every number comes from: a row for each run, with the command that repeats it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from nino.code_version import HARMLESS
from nino.config.layout import Layout
from nino.report.columns import TASK, Column, Row, by_task, lay_out, plain
from nino.report.formats import EMPTY, number
from nino.report.rendering import Table
from nino.report.runs import Key, Runs
from nino.specs import ReportSpec

KERNELS = ("cpu", "gpus", "threads", "aten", "onednn", "mkl", "blas")
"""What of the hardware decides which bits a run has."""


def origins_table(runs: Runs) -> Table:
    """Each planned run: what became of it, the commit, machine and data it was made from, and its command."""
    columns = (
        TASK,
        Column("Method", plain("label")),
        Column("Seed", plain("seed")),
        Column("Steps to target", lambda row: number(row["steps"]) if row["status"] == "done" else row["status"]),
        Column("Command", plain("command")),
        Column("Commit", _commit_text),
        Column("Machine", plain("machine")),
        Column("Data", lambda row: plain("data")(row)[:10]),
    )
    return lay_out(
        "origins",
        "Where each number comes from",
        columns,
        [_origin(runs, row) for row in runs.frame.to_dict("records")],
        hidden=("label",),
        group=by_task,
        notes=(
            "A cell of the other tables is a statistic of these runs: those of its task and method, and of the "
            f"baseline with the same seeds. Each command makes its run again, at the commit that stands beside it: "
            f"{_from_what(runs.spec)}.",
            "Data: the first digits of the SHA-256 of the data set, splits included; manifest.json has the whole, the "
            "versions of all packages and the checksums of logs, weights, tables and figures.",
        ),
    )


def made_otherwise(runs: Runs) -> tuple[str, ...]:
    """A sentence on the code, the packages and the kernels in which the runs differ; none where they do not."""
    made = [info.get("provenance") or {} for info in runs.info.values()]
    packages = dict.fromkeys(name for each in made for name in each.get("versions") or () if name not in HARMLESS)
    settings = {"commit": {(each.get("git") or {}).get("commit", "")[:10] for each in made}}
    settings |= {name: {(each.get("versions") or {}).get(name) for each in made} for name in packages}
    settings |= {name: {_plain((each.get("hardware") or {}).get(name)) for each in made} for name in KERNELS}
    several = {name: stated for name, values in settings.items() if len(stated := values - {None, ""}) > 1}
    if not several:
        return ()
    commits = several.pop("commit", ())
    parts = [f"{len(commits)} commits"] if commits else []
    parts += [f"{name} {' and '.join(sorted(values))}" for name, values in several.items()]
    return (f"Not all runs were made alike: {'; '.join(parts)}. The table origins has the commit of each.",)


def _plain(value: Any) -> str | None:
    return None if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _origin(runs: Runs, row: Mapping[Any, Any]) -> dict[str, Any]:
    key = Key(row["task"], row["method"], row["seed"])
    origin: Mapping[str, Any] = runs.info.get(key, {}).get("provenance") or {}
    git, hardware, inputs = (origin.get(name) or {} for name in ("git", "hardware", "inputs"))
    return {
        **key._asdict(),
        "label": runs.spec.label(key.method),
        "status": row["status"],
        "steps": row["steps"],
        "command": shlex.join(["nino", "evaluate", *_arguments(runs.spec, key, inputs.get("nowcaster"))]),
        "commit": git.get("commit", ""),
        "dirty": git.get("dirty"),
        "machine": _machine(hardware),
        "data": inputs.get("data", ""),
    }


def _commit_text(row: Row) -> str:
    return f"{row['commit'][:10]}{' + changes' if row['dirty'] else ''}" if row["commit"] else EMPTY


def _arguments(spec: ReportSpec, key: Key, weights: Any) -> list[str]:
    """The arguments of ``nino evaluate``: config files and names if the config came from files, else a spec file."""
    data = [] if spec.task(key.task).data.source == "embedded" else ["--data-dir", "FOLDER"]
    if spec.overlays is not None:
        files = [word for path in spec.overlays for word in ("--config", path)]
        return [*files, "--task", key.task, "--method", key.method, "--seed", str(key.seed), *data]
    paths = Layout(spec.run)
    told = ["--nowcaster", str(weights["path"])] if isinstance(weights, Mapping) else []
    out = paths.evaluation(key.task, key.method, key.seed)
    return [paths.evaluation_spec(key.task, key.method), "--seed", str(key.seed), *told, "--out", out, *data]


def _from_what(spec: ReportSpec) -> str:
    """Describe what the commands read."""
    source = (
        "from the resolved spec file that it names, which Snakemake writes"
        if spec.overlays is None
        else "in a checkout, from the config; weights that the run fitted are read from its folder"
    )
    embedded = all(task.data.source == "embedded" for task in spec.tasks)
    return source if embedded else f"{source}. FOLDER is where the data sets are"


def _machine(hardware: Mapping[str, Any]) -> str:
    """Name the GPUs, or the processor and its number of cores."""
    if hardware.get("gpus"):
        return ", ".join(str(gpu) for gpu in hardware["gpus"])
    return f"{hardware['cpu']}, {hardware.get('cores', '?')} cores" if hardware.get("cpu") else ""
