"""The manifest of a run: what was asked for, what it was made from, what came out, each file with its checksum.

`verify` goes the other way: with the manifest's own config it builds the tables from the logs again and says what
differs.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import pandas as pd
from safetensors import safe_open

from nino.evaluate.run_folder import FILES
from nino.files import sha256, write_json
from nino.provenance import git_commit, hardware, versions
from nino.report.build import write_tables
from nino.report.record import read_record
from nino.report.runs import CorruptRunError, Key, Runs, read_runs
from nino.specs import ReportSpec
from nino.trajectories.format import get_attributes

FORMAT = 1
NAME = "manifest.json"
SECONDS = ("train_seconds", "evaluation_seconds", "nowcast_seconds")
ARTIFACTS = ("tables", "figures")
FITS = ("metatrain", "l2o")


class ManifestError(ValueError):
    """A directory without a manifest that could be checked."""


def write_manifest(results: Path, spec: ReportSpec, config: Mapping[str, Any] | None = None) -> Path:
    """Write ``manifest.json`` of a run whose tables and figures are there.

    Args:
        results: the run's directory, ``results/<run>``.
        spec: what belongs to the report.
        config: the whole config as resolved, kept as it is.

    Returns:
        The manifest's path.

    Raises:
        CorruptRunError: where a run's files are damaged.
        ManifestError: where there are no tables yet.
    """
    runs = read_runs(results, spec)
    if not (results / "tables" / "table2.csv").exists():
        raise ManifestError(f"{results / 'tables'}: no tables there; build them first (`nino tables`)")
    write_json(results / NAME, manifest(results, runs, config))
    return results / NAME


def manifest(results: Path, runs: Runs, config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A run's manifest as plain values: config, seeds, where each run was made, checksums and durations.

    Args:
        results: the run's directory.
        runs: its runs.
        config: the whole config as resolved.
    """
    made = [info.get("provenance") or {} for info in runs.info.values()]
    return {
        "format": FORMAT,
        "run": runs.spec.run,
        "report": runs.spec.to_dict(),
        "config": None if config is None else dict(config),
        "seeds": list(runs.spec.seeds),
        "provenance": {"versions": versions(), "hardware": hardware(), "git": git_commit()},
        "made_with": {key: distinct(entry.get(key) for entry in made) for key in ("versions", "hardware", "git")},
        "runs": {"/".join(map(str, key)): _run_entry(results, runs, key) for key in planned(runs)},
        "trajectories": {path.stem: trajectories_entry(path) for path in sorted(results.glob("trajectories/*.h5"))},
        "fits": {
            **{path.parent.name: fit_entry(path) for path in sorted(results.glob("metatrain/*/best.safetensors"))},
            **{f"l2o/{path.parent.name}": fit_entry(path) for path in sorted(results.glob("l2o/*/best.safetensors"))},
        },
        "checkpoints": checksums(results, (p for fit in FITS for p in results.glob(f"{fit}/*/best.safetensors"))),
        "artifacts": checksums(
            results,
            (path for part in ARTIFACTS for path in (results / part).rglob("*") if not path.name.startswith(".")),
        ),
        "seconds": {name: round(float(runs.frame[name].sum()), 3) for name in SECONDS},
    }


def verify(results: Path) -> list[str]:
    """Check a run against its manifest: inputs and artifacts by checksum, tables by building them again from the logs.

    Args:
        results: a run's directory with a ``manifest.json``.

    Returns:
        A sentence per difference, each beginning with the file; empty where everything agrees.

    Raises:
        ManifestError: for a directory without a readable manifest.
    """
    known = read_manifest(results)
    inputs = {name: digest for entry in known["runs"].values() for name, digest in entry["files"].items()}
    found = compare_checksums(results, inputs, "changed since the manifest was written")
    found += compare_checksums(results, known["artifacts"], "changed since the manifest was written")
    found += compare_checksums(results, known["checkpoints"], "changed since the manifest was written")
    spec = ReportSpec.from_dict(known["report"])
    with tempfile.TemporaryDirectory() as scratch:
        again = Path(scratch) / "tables"
        try:
            write_tables(results, spec, again)
        except CorruptRunError as error:
            return [*found, str(error)]
        for path in sorted(path for path in again.rglob("*") if path.is_file()):
            name = f"tables/{path.relative_to(again).as_posix()}"
            kept = results / name
            if not kept.exists():
                found.append(f"{name}: missing, though the logs give it")
            elif kept.read_bytes() != path.read_bytes():
                found.append(f"{name}: not what the logs give; {first_difference(kept, path)}")
    return found


def read_manifest(results: Path) -> dict[str, Any]:
    """Read a run's manifest.

    Raises:
        ManifestError: where it is missing, no JSON or of another format.
    """
    made_by = "`nino manifest` writes it once the tables are there"
    return read_record(results / NAME, FORMAT, "a manifest", made_by, ManifestError)


def compare_checksums(results: Path, expected: Mapping[str, str], reason: str) -> list[str]:
    """A sentence for every file that is missing or has another checksum than expected."""
    found = []
    for name, digest in expected.items():
        path = results / name
        if not path.exists():
            found.append(f"{name}: missing")
        elif sha256(path) != digest:
            found.append(f"{name}: {reason}")
    return found


def first_difference(kept: Path, built: Path) -> str:
    """The first line in which two text files differ."""
    old, new = (path.read_text(encoding="utf-8", errors="replace").splitlines() for path in (kept, built))
    for number, (a, b) in enumerate(zip(old, new, strict=False), start=1):
        if a != b:
            return f"line {number} is {a.strip()!r}, the logs give {b.strip()!r}"
    return f"{len(old)} lines, the logs give {len(new)}"


def checksums(results: Path, paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of files, by their path below ``results``."""
    return {path.relative_to(results).as_posix(): sha256(path) for path in sorted(paths) if path.is_file()}


def planned(runs: Runs) -> list[Key]:
    """Every planned run."""
    frame = runs.frame
    return [Key(str(t), str(m), int(s)) for t, m, s in zip(frame["task"], frame["method"], frame["seed"], strict=True)]


def distinct(values: Iterable[Any]) -> list[Any]:
    """The different values among some, None left out: one entry where all runs were made alike."""
    seen: list[Any] = []
    for value in values:
        if value is not None and value not in seen:
            seen.append(value)
    return seen


def trajectories_entry(path: Path) -> dict[str, Any]:
    """What a data set of trajectories says of itself: data, spec, seeds, versions, commit.

    Args:
        path: the joined file. Its shards guard their own content, chunk by chunk; they are too large to be read here.
    """
    with h5py.File(path, "r") as file:
        known = get_attributes(file)
        seeds = file["seed"][:].tolist()
    kept = {name: known.get(name) for name in ("data_checksum", "code_version")}
    read = {name: json.loads(known[name]) for name in ("trajectory_spec", "versions") if name in known}
    return kept | read | {"seeds": seeds}


def fit_entry(path: Path) -> dict[str, Any]:
    """What the checkpoint of a fitted nowcaster or learned optimizer says of itself, and how long the fit took.

    Args:
        path: the checkpoint, with the fit's ``log.csv`` beside it.
    """
    with safe_open(path, framework="np") as file:
        known = file.metadata() or {}
    names = ("metatrain", "trajectories", "networks", "recipe", "task", "data", "versions", "git", "hardware")
    entry: dict[str, Any] = {name: json.loads(known[name]) for name in names if name in known}
    log = path.with_name("log.csv")
    return entry | {"seconds": float(pd.read_csv(log)["seconds"].sum()) if log.exists() else None}


def _run_entry(results: Path, runs: Runs, key: Key) -> dict[str, Any]:
    folder = key.folder(results)
    info = runs.info.get(key)
    if info is None:
        return {"status": "missing", "reason": None, "files": {}}
    return {
        "status": info["status"],
        "reason": info["reason"],
        "inputs": (info.get("provenance") or {}).get("inputs"),
        "files": checksums(results, (folder / name for name in FILES)),
    }
