"""The manifest of a run: its config, what it was made from and what it produced, each file with its checksum."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import pandas as pd
from safetensors import SafetensorError, safe_open

from nino.code_version import code_digest
from nino.evaluate.run_folder import FILES
from nino.files import sha256, write_json
from nino.provenance import git_commit, hardware, versions
from nino.report.runs import Key, Runs, data_path, planned_keys, read_some_runs
from nino.report.studies import study_names
from nino.specs import ReportSpec
from nino.trajectories.format import get_attributes

FORMAT = 2
FORMATS = (1, FORMAT)
"""Those that this version reads; from 2 on a manifest holds its own checksum, those of data records, and what drew."""
NAME = "manifest.json"
SECONDS = ("train_seconds", "evaluation_seconds", "nowcast_seconds")
ARTIFACTS = ("tables", "figures")
FITS = ("metatrain", "l2o")
STUDIES = "manifests"
DRAWS = ("nino.report.figures.write_figures", "nino.report.study_results.write_study")
DEFINITIONS = {"timing": 3, "table2": 2, "summary": 2, "fixed_steps": 2, **dict.fromkeys(study_names(), 2)}
"""The version of the definition of a table's numbers, for tables that were redefined; all others have version 1.

timing: from 2 on, overhead and seconds per nowcast are computed by seed, as all else is, where 1 divided sums over the
seeds; from 3 on, only runs under equal load are compared. table2, summary and studies: from 2 on, a miss counts with
the step budget, the baseline's misses too, where 1 left seeds with a miss out. fixed_steps: from 2 on, all runs are
read half a period after a jump, and worth is computed on the common grid.
"""
WORDING = 2
"""How often sentences of tables and captions have been put anew; numbers follow ``DEFINITIONS``. Not recorded: 1."""


class ManifestError(ValueError):
    """A directory without a readable manifest."""


def write_manifest(results: Path, spec: ReportSpec, config: Mapping[str, Any] | None = None) -> Path:
    """Write ``manifest.json`` of a run whose tables and figures are there.

    Args:
        results: the run's directory, ``results/<run>``.
        spec: what belongs to the report.
        config: the whole config as resolved, kept as it is but for where data lie, which is one machine's.

    Returns:
        The manifest's path.

    Raises:
        CorruptRunError: where a run's files are damaged.
        ManifestError: where there are no tables yet.
    """
    runs = read_some_runs(results, spec)
    if not (results / "tables" / "table2.csv").exists():
        raise ManifestError(f"{results / 'tables'}: no tables there; build them first (`nino tables`)")
    made = manifest(results, runs, config)
    write_json(results / NAME, made | {"seal": seal(made)})
    return results / NAME


def study_manifest(results: Path) -> dict[str, Any]:
    """What the manifests of studies that train nothing say together, under the keys of a run's manifest.

    Args:
        results: the run's directory, ``results/<run>``, with ``manifests/<study>.json``.

    Raises:
        ManifestError: where it has none.
    """
    studies = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((results / STUDIES).glob("*.json"))]
    if not studies:
        raise ManifestError(f"{results / NAME}: not there; `nino manifest` writes it once the tables are there")
    return {
        "runs": {},
        "artifacts": {name: digest for study in studies for name, digest in study["outputs"].items()},
        "made_with": {"git": distinct(study["git"] for study in studies)},
    }


def manifest(results: Path, runs: Runs, config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A run's manifest as plain values: config, seeds, provenance of each run, checksums and durations.

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
        "config": None if config is None else {key: value for key, value in config.items() if key != "data_dir"},
        "seeds": list(runs.spec.seeds),
        "provenance": {"versions": versions(), "hardware": hardware(), "git": git_commit()},
        "made_with": {key: distinct(entry.get(key) for entry in made) for key in ("versions", "hardware", "git")},
        "runs": {"/".join(map(str, key)): _run_entry(results, runs, key) for key in planned_keys(runs.spec)},
        "data": checksums(results, (data_path(results, task.id) for task in runs.spec.tasks)),
        "trajectories": {path.stem: trajectories_entry(path) for path in sorted(results.glob("trajectories/*.h5"))},
        "fits": {
            **{path.parent.name: fit_entry(path) for path in sorted(results.glob("metatrain/*/best.safetensors"))},
            **{f"l2o/{path.parent.name}": fit_entry(path) for path in sorted(results.glob("l2o/*/best.safetensors"))},
        },
        "checkpoints": checksums(results, (p for fit in FITS for p in results.glob(f"{fit}/*/best.safetensors"))),
        "definitions": DEFINITIONS,
        "wording": WORDING,
        "drawn_by": drawing(),
        "artifacts": checksums(
            results,
            (path for part in ARTIFACTS for path in (results / part).rglob("*") if not path.name.startswith(".")),
        ),
        "seconds": {name: round(float(runs.frame[name].sum()), 3) for name in SECONDS},
    }


def seal(made: Mapping[str, Any]) -> str:
    """SHA-256 of what a manifest says, but for this seal itself: an edited entry breaks it."""
    content = {key: value for key, value in made.items() if key != "seal"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def drawing() -> dict[str, str | None]:
    """What decides how the same logs are drawn, byte for byte: this code, the packages that draw, the processor."""
    installed = versions()
    packages = {name: installed.get(name) for name in ("matplotlib", "numpy", "python")}
    return {"code": code_digest(*DRAWS), "cpu": hardware()["cpu"], **packages}


def read_manifest(results: Path) -> dict[str, Any]:
    """Read a run's manifest.

    Raises:
        ManifestError: where it is missing, no JSON or of another format.
    """
    made_by = "`nino manifest` writes it once the tables are there"
    return read_record(results / NAME, FORMATS, "a manifest", made_by, ManifestError)


def read_record(path: Path, numbers: Sequence[int], what: str, made_by: str, fault: type[ValueError]) -> dict[str, Any]:
    """Read a JSON object that states its format.

    Args:
        path: the file.
        numbers: the formats that this version reads.
        what: how errors call such a file.
        made_by: what to do where it is missing, for the error.
        fault: type of the errors.

    Returns:
        The object.

    Raises:
        ValueError: of type ``fault``, where the file is missing, no JSON or of another format.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise fault(f"{path} does not exist: {made_by}") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise fault(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(record, dict) or record.get("format") not in numbers:
        raise fault(f"{path}: not {what} of format {' or '.join(map(str, numbers))}")
    return record


def checksums(results: Path, paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of files, by their path below ``results``."""
    return {path.relative_to(results).as_posix(): sha256(path) for path in sorted(paths) if path.is_file()}


def distinct(values: Iterable[Any]) -> list[Any]:
    """The distinct values, without None: one entry if all runs were made alike."""
    seen: list[Any] = []
    for value in values:
        if value is not None and value not in seen:
            seen.append(value)
    return seen


def trajectories_entry(path: Path) -> dict[str, Any]:
    """What a data set of trajectories records about itself: data, spec, seeds, versions.

    Args:
        path: the joined file. Its shards guard their own content, chunk by chunk; they are too large to be read here.
    """
    with h5py.File(path, "r") as file:
        attributes = get_attributes(file)
        seeds = file["seed"][:].tolist()
    plain = {name: attributes.get(name) for name in ("data_checksum", "code_version")}
    read = {name: json.loads(attributes[name]) for name in ("trajectory_spec", "versions") if name in attributes}
    return plain | read | {"seeds": seeds}


def fit_entry(path: Path) -> dict[str, Any]:
    """What the checkpoint of a fitted nowcaster or learned optimizer records about itself, and how long the fit took.

    Args:
        path: the checkpoint, with the fit's ``log.csv`` beside it.

    Raises:
        ManifestError: where it is no such file.
    """
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise ManifestError(f"{path}: not readable ({error}); fit it again") from error
    names = ("metatrain", "trajectories", "networks", "recipe", "task", "data", "versions", "git", "hardware")
    entry: dict[str, Any] = {name: json.loads(metadata[name]) for name in names if name in metadata}
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
