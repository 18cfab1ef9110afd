"""Checking a run against its manifest: every file by its checksum, and the tables by rebuilding them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from nino.files import sha256
from nino.release.manifest import DEFINITIONS, read_manifest, study_manifest
from nino.report.build import write_tables
from nino.report.runs import CorruptRunError
from nino.specs import ReportSpec


def verify_run(results: Path) -> list[str]:
    """Check a run against its manifest: inputs and artifacts by checksum, tables by rebuilding them from the logs.

    A table whose numbers an earlier version defined differently is held to its checksum alone.

    Args:
        results: a run's directory with a ``manifest.json``.

    Returns:
        A sentence per difference, each beginning with the file; empty where everything agrees.

    Raises:
        ManifestError: for a directory without a readable manifest.
    """
    manifest = read_manifest(results)
    inputs = {name: digest for entry in manifest["runs"].values() for name, digest in entry["files"].items()}
    files = inputs | manifest["artifacts"] | manifest["checkpoints"]
    differences = compare_checksums(results, files, "changed since the manifest was written")
    defined = manifest.get("definitions", {})
    outdated = {table for table, definition in DEFINITIONS.items() if defined.get(table, 1) < definition}
    with tempfile.TemporaryDirectory() as scratch:
        again = Path(scratch) / "tables"
        try:
            write_tables(results, ReportSpec.from_dict(manifest["report"]), again)
        except CorruptRunError as error:
            return [*differences, str(error)]
        for path in sorted(path for path in again.rglob("*") if path.is_file()):
            name = f"tables/{path.relative_to(again).as_posix()}"
            there = results / name
            if not there.exists():
                differences.append(f"{name}: missing, though the logs give it")
            elif there.read_bytes() != path.read_bytes() and path.stem not in outdated:
                differences.append(f"{name}: not what the logs give; {first_difference(there, path)}")
    return differences


def verify_studies(results: Path) -> list[str]:
    """Check the tables and figures of studies that train nothing against their manifests, by checksum.

    Args:
        results: a run's directory with ``manifests/<study>.json``.

    Returns:
        A sentence per difference, each beginning with the file; empty where everything agrees.

    Raises:
        ManifestError: for a directory without such a manifest.
    """
    return compare_checksums(results, study_manifest(results)["artifacts"], "changed since the manifest was written")


def compare_checksums(results: Path, expected: Mapping[str, str], reason: str) -> list[str]:
    """A sentence for every file that is missing or has another checksum than expected."""
    differences = []
    for name, digest in expected.items():
        if not (results / name).exists():
            differences.append(f"{name}: missing")
        elif sha256(results / name) != digest:
            differences.append(f"{name}: {reason}")
    return differences


def first_difference(there: Path, built: Path) -> str:
    """The first line in which two text files differ."""
    old, new = (path.read_text(encoding="utf-8", errors="replace").splitlines() for path in (there, built))
    for number, (a, b) in enumerate(zip(old, new, strict=False), start=1):
        if a != b:
            return f"line {number} is {a.strip()!r}, the logs give {b.strip()!r}"
    return f"{len(old)} lines, the logs give {len(new)}"
