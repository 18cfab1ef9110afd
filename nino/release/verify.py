"""Checking a run against its manifest: all that follows from its logs is made again and compared."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nino.config.resolve import resolve
from nino.evaluate.run_folder import FILES
from nino.files import sha256
from nino.release.manifest import (
    ARTIFACTS,
    DEFINITIONS,
    FITS,
    NAME,
    STUDIES,
    WORDING,
    checksums,
    drawing,
    manifest,
    read_manifest,
    seal,
    study_manifest,
)
from nino.release.rebuilding import altered_figures, altered_tables
from nino.report.comparable import differences
from nino.report.runs import Runs, data_path, planned_keys, read_some_runs, unplanned
from nino.specs import ReportSpec

KEYS = (
    "artifacts",
    "checkpoints",
    "config",
    "fits",
    "made_with",
    "provenance",
    "report",
    "run",
    "runs",
    "seconds",
    "seeds",
    "trajectories",
)
"""What every manifest holds."""
LATER = ("data", "definitions", "drawn_by", "seal")
"""What manifests hold from format 2 on."""
UNPLANNED = "a run that the report leaves out; take it into the config, or move it away"
CHANGED = "changed since the manifest was written"
SHOWN = 60  # characters of a value in a sentence


def verify_run(results: Path) -> list[str]:
    """Check a run against its manifest.

    - Logs, data records, tables, figures and weights are the files that the manifest lists, each with its checksum,
      and no others.
    - The runs are what the report asks for, may be compared, and agree with their own logs.
    - The manifest's entries are those that the runs, fits and the config give.
    - No run is there that the report leaves out, and weights are those that the runs were made with.
    - Tables, those of studies, too, and captions are what the logs give, byte for byte. Where an earlier version
      defined the numbers of a table differently, or put sentences differently, these are held to their checksums alone.
    - Figures are picture files. With the code, packages and processor that drew them, they are drawn again and must
      agree byte for byte; otherwise only their checksums are compared. `by_checksum` lists what was compared so.

    Args:
        results: a run's directory with a ``manifest.json``.

    Returns:
        A sentence per difference, each beginning with the file; empty where everything agrees.

    Raises:
        ManifestError: for a directory without a readable manifest.
    """
    recorded = read_manifest(results)
    keys = (*KEYS, *(LATER if recorded["format"] > 1 else ()))
    if missing := [key for key in keys if key not in recorded]:
        return [f"{NAME}: lacks {key!r}" for key in missing]
    sentences = [*_altered_entries(recorded)]
    try:
        spec = ReportSpec.from_dict(recorded["report"])
        sentences += compare_files(results, _listed(recorded), _there(results, spec, recorded))
        runs = read_some_runs(results, spec)
        sentences += _other_entries(results, recorded, runs)
    except ValueError as error:
        return [*sentences, *str(error).splitlines()]
    sentences += [f"{path.relative_to(results)}: {UNPLANNED}" for path in unplanned(results, spec)]
    again, reworded = recorded.get("drawn_by") == drawing(), recorded.get("wording", 1) != WORDING
    with tempfile.TemporaryDirectory() as folder:
        sentences += altered_tables(results, spec, recorded, _outdated(recorded), reworded, Path(folder))
        sentences += altered_figures(results, runs, Path(folder), again, reworded)
    return sentences


def by_checksum(results: Path) -> list[str]:
    """What is not made again of a run that agrees, but held to its checksum alone, each with the reason."""
    if not (results / NAME).exists():
        return ["all of it (studies that train nothing, whose seconds and memory are never the same)"]
    if not (results / "evaluate").exists():
        return ["all of it (its logs were too large to keep)"]
    recorded = read_manifest(results)
    tables = sorted(name for name in _outdated(recorded) if (results / "tables" / f"{name}.csv").exists())
    held = [f"{', '.join(tables)} (numbers that an earlier version defined otherwise)"] if tables else []
    if recorded.get("wording", 1) != WORDING:
        held.append("sentences (that another version put otherwise)")
    if any((results / "figures").glob("*.*")) and recorded.get("drawn_by") != drawing():
        held.append("figures (drawn by other code, packages or another processor)")
    return held


def verify_studies(results: Path) -> list[str]:
    """Check the tables and figures of studies that train nothing against their manifests, by checksum.

    What they measured cannot be made again the same: seconds, memory.

    Args:
        results: a run's directory with ``manifests/<study>.json``.

    Returns:
        A sentence per difference, each beginning with the file; empty where everything agrees.

    Raises:
        ManifestError: for a directory without such a manifest.
    """
    listed = study_manifest(results)["artifacts"]
    listed_by_run = (results / NAME).exists()  # then the run's manifest lists all files, those of its studies, too
    return compare_files(results, listed, {} if listed_by_run else _artifacts(results), f"{STUDIES}/")


def compare_checksums(results: Path, expected: Mapping[str, str], reason: str) -> list[str]:
    """A sentence for every file that is missing or has another checksum than expected."""
    differences = []
    for name, digest in expected.items():
        if not (results / name).exists():
            differences.append(f"{name}: missing")
        elif sha256(results / name) != digest:
            differences.append(f"{name}: {reason}")
    return differences


def compare_files(results: Path, listed: Mapping[str, str], there: Mapping[str, str], by: str = NAME) -> list[str]:
    """A sentence for every file that is missing, changed or not listed."""
    more = [f"{name}: not in {by}, which lists every file" for name in there if name not in listed]
    return compare_checksums(results, listed, CHANGED) + more


def _listed(recorded: Mapping[str, Any]) -> dict[str, str]:
    """The files that a manifest lists."""
    of_runs = {name: digest for entry in recorded["runs"].values() for name, digest in entry["files"].items()}
    return of_runs | recorded["artifacts"] | recorded["checkpoints"] | recorded.get("data", {})


def _there(results: Path, spec: ReportSpec, recorded: Mapping[str, Any]) -> dict[str, str]:
    """The files that a manifest written today would list."""
    of_runs = checksums(results, (key.folder(results) / name for key in planned_keys(spec) for name in FILES))
    fits = checksums(results, (path for fit in FITS for path in results.glob(f"{fit}/*/best.safetensors")))
    data = checksums(results, (data_path(results, task.id) for task in spec.tasks))
    return of_runs | _artifacts(results) | fits | (data if "data" in recorded else {})


def _artifacts(results: Path) -> dict[str, str]:
    paths = (path for part in ARTIFACTS for path in (results / part).rglob("*"))
    return checksums(results, (path for path in paths if not path.name.startswith(".")))


def _altered_entries(recorded: Mapping[str, Any]) -> Iterator[str]:
    """Where a manifest contradicts itself: its seal, and the report that its config gives."""
    if "seal" in recorded and recorded["seal"] != seal(recorded):
        yield f"{NAME}: not what `nino manifest` wrote: its seal, the checksum of its entries, does not fit them"
    if recorded["config"] is None:  # a run from spec files alone
        return
    try:
        mine = ReportSpec.from_dict(recorded["report"])
        given = resolve(recorded["config"]).report
    except (KeyError, TypeError, ValueError) as error:
        yield f"{NAME}: config and report: {' '.join(str(error).split())}"
        return
    for key, listed, expected in differences(_in_any_order(mine), _in_any_order(given)):
        if key != "overlays":  # the files that the config came from
            yield f"{NAME}: report.{key} is {_short(listed)}, its config gives {_short(expected)}"


def _in_any_order(spec: ReportSpec) -> dict[str, Any]:
    """A report with tasks and methods by name: a manifest sorts its keys, and so the methods of its config."""
    report = json.loads(json.dumps(spec.to_dict()))
    tasks = {task["id"]: task for task in report["tasks"]}
    methods = {method["name"]: method for method in report["methods"]}
    return {**report, "tasks": tasks, "methods": methods, "trained_on": sorted(report["trained_on"])}


def _other_entries(results: Path, recorded: Mapping[str, Any], runs: Runs) -> Iterator[str]:
    """Where a manifest does not say what runs and fits give."""
    rebuilt = manifest(results, runs, recorded["config"])
    for key in ("run", "seeds", "made_with", "seconds"):
        for name, ours, theirs in differences(recorded[key], rebuilt[key], key):
            yield f"{NAME}: {name} is {_short(ours)}, the runs give {_short(theirs)}"
    for run in dict.fromkeys([*recorded["runs"], *rebuilt["runs"]]):
        mine, theirs = ({**each["runs"].get(run, {}), "files": None} for each in (recorded, rebuilt))
        for name, ours, given in differences(mine, theirs):
            yield f"{NAME}: runs.{run}.{name} is {_short(ours)}, the run gives {_short(given)}"
    yield from _other_weights(recorded, runs)
    for key in ("fits", "trajectories"):  # a release has no trajectories; fits that are gone are missing checkpoints
        for name, given in rebuilt[key].items():
            for entry, ours, theirs in differences(recorded[key].get(name), given, f"{key}.{name}"):
                yield f"{NAME}: {entry} is {_short(ours)}, the file gives {_short(theirs)}"


def _outdated(recorded: Mapping[str, Any]) -> set[str]:
    """The tables that an earlier version defined differently."""
    return {name for name, number in DEFINITIONS.items() if recorded.get("definitions", {}).get(name, 1) < number}


def _other_weights(recorded: Mapping[str, Any], runs: Runs) -> Iterator[str]:
    """Where the weights beside the runs are others than those that the runs were made with."""
    for key, info in runs.info.items():
        read = ((info.get("provenance") or {}).get("inputs") or {}).get("nowcaster")
        if not isinstance(read, Mapping):
            continue
        name, theirs = "/".join(Path(read["path"]).parts[-3:]), read["sha256"]
        mine = recorded["checkpoints"].get(name, theirs)
        if mine != theirs:
            yield f"{name}: {mine[:10]}..., the run {'/'.join(map(str, key))} was made with {theirs[:10]}..."


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
