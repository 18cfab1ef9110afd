"""Releases: ``results/<name>-v<N>/`` is a run's tables and figures, frozen once with the checksum of every file."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nino.evaluate.run_folder import COPIES
from nino.files import write_json, write_text
from nino.report.changes import changelog, changes
from nino.report.manifest import NAME as MANIFEST
from nino.report.manifest import checksums, compare_checksums, read_manifest
from nino.report.manifest import verify as verify_run
from nino.report.record import read_record
from nino.specs import ReportSpec
from nino.specs.report import FIGURE_FORMATS, TABLE_FORMATS, TABLES, figure_names

FORMAT = 1
NAME = "RELEASE.json"
CHANGES = "CHANGES.md"
FROZEN = ("tables", "figures")
LOGS = ("evaluate", "data")
LOGS_LIMIT = 16 * 2**20  # bytes of logs that are kept, so that the tables can be built again from the release alone
VERSION = re.compile(r"(?P<name>.+)-v(?P<version>\d+)")


class ReleaseError(ValueError):
    """A run that cannot be released, or a release that is not what it was."""


@dataclass(frozen=True)
class Release:
    """A released version.

    Args:
        folder: ``results/<name>-v<N>``.
        name: the run it was made from.
        version: N, from 1.
        date: day of the release, UTC.
        record: the content of its ``RELEASE.json``.
    """

    folder: Path
    name: str
    version: int
    date: str
    record: dict[str, Any]


def release(results: Path, graphs: bool = True) -> Release:
    """Freeze a run as its next version.

    Copies tables, figures and the manifest, and the logs where they are small (16 MiB), to ``results/<name>-v<N>``;
    writes ``CHANGES.md``, what moved since the version before, and ``RELEASE.json``, the checksum of every file.

    Args:
        results: the run's directory, ``results/<name>``; unchanged.
        graphs: whether pictures of neural graphs belong to a complete run.

    Returns:
        The release.

    Raises:
        ReleaseError: for a run that is incomplete, altered since its manifest, or the same as the version before; a
            version before that is altered itself; the name of a release instead of a run's.
        ManifestError: for a run without a readable manifest.
    """
    if VERSION.fullmatch(results.name):
        raise ReleaseError(f"{results} is a release, which never changes; give the run that it was made from")
    manifest = read_manifest(results)
    _require(results, [*gaps(results, manifest, graphs), *verify_run(results)])
    earlier = [known for known in releases(results.parent) if known.name == results.name]
    previous = earlier[-1] if earlier else None
    if previous is not None:
        _require(previous.folder, verify(previous.folder))
        if read_manifest(previous.folder)["artifacts"] == manifest["artifacts"]:
            raise ReleaseError(f"{results}: tables and figures are those of {previous.folder.name}: nothing to release")
    version = previous.version + 1 if previous else 1
    target = results.parent / f"{results.name}-v{version}"
    if target.exists():
        raise ReleaseError(f"{target} is there and is no release ({NAME} is missing); move it away")
    return _freeze(results, manifest, previous, target, version)


def gaps(results: Path, manifest: dict[str, Any], graphs: bool = True) -> Iterator[str]:
    """What a complete run would have: a sentence per missing run, table and figure.

    Args:
        results: the run's directory.
        manifest: its manifest.
        graphs: whether pictures of neural graphs belong to it.
    """
    for key, entry in manifest["runs"].items():
        if entry["status"] == "missing":
            yield f"evaluate/{key}: the run is missing"
    spec = ReportSpec.from_dict(manifest["report"])
    files = [f"tables/{name}.{kind}" for name in TABLES for kind in TABLE_FORMATS]
    files += [f"figures/{name}.{kind}" for name in figure_names(spec, graphs) for kind in FIGURE_FORMATS]
    for name in files:
        if not (results / name).exists():
            yield f"{name}: missing"
        elif name not in manifest["artifacts"]:
            yield f"{name}: not in {MANIFEST}; write the manifest anew (`nino manifest`)"


def releases(folder: Path) -> list[Release]:
    """All releases in a folder of results, by name and version.

    Raises:
        ReleaseError: for a release whose record cannot be read, or that was renamed.
    """
    found = []
    for path in folder.glob(f"*/{NAME}"):
        record = read_release(path.parent)
        if path.parent.name != f"{record['name']}-v{record['version']}":
            raise ReleaseError(
                f"{path.parent}: was released as {record['name']}-v{record['version']}: name it so again"
            )
        found.append(Release(path.parent, record["name"], record["version"], record["date"], record))
    return sorted(found, key=lambda known: (known.name, known.version))


def read_release(folder: Path) -> dict[str, Any]:
    """Read a release's record.

    Raises:
        ReleaseError: where it is missing, no JSON or of another format.
    """
    made_by = "`nino release` makes releases"
    return read_record(folder / NAME, FORMAT, "the record of a release", made_by, ReleaseError)


def verify(folder: Path) -> list[str]:
    """Check a release: every file by checksum, none added, and the tables against the logs where they were kept.

    Args:
        folder: ``results/<name>-v<N>``.

    Returns:
        A sentence per difference, each beginning with the file; empty where everything agrees.

    Raises:
        ReleaseError: for a folder without a readable record.
    """
    record = read_release(folder)
    found = compare_checksums(folder, record["files"], "altered since the release")
    there = checksums(folder, (path for path in folder.rglob("*") if path.name != NAME))
    found += [f"{name}: added since the release" for name in there if name not in record["files"]]
    if record["logs_kept"] and not found:
        found = [sentence for sentence in verify_run(folder) if not sentence.startswith("metatrain/")]
    return found


def _freeze(results: Path, manifest: dict[str, Any], previous: Release | None, target: Path, version: int) -> Release:
    """Copy beside the release's name and rename once it is whole."""
    logs = [path for part in LOGS for path in (results / part).rglob("*") if path.suffix in (".json", ".csv")]
    logs = [path for path in logs if path.parent.name != COPIES]
    kept = sum(path.stat().st_size for path in logs) <= LOGS_LIMIT
    files = [path for part in FROZEN for path in (results / part).rglob("*") if path.is_file()]
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        for path in [*files, results / MANIFEST, *(logs if kept else [])]:
            copy = part / path.relative_to(results)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        found = changes(previous.folder / "tables", part / "tables") if previous else []
        write_text(part / CHANGES, changelog(target.name, found, previous.folder.name if previous else None))
        statuses = [entry["status"] for entry in manifest["runs"].values()]
        record = {
            "format": FORMAT,
            "name": results.name,
            "version": version,
            "date": datetime.now(UTC).date().isoformat(),
            "previous": previous.folder.name if previous else None,
            "runs": {status: statuses.count(status) for status in sorted(set(statuses))},
            "made_with": manifest["made_with"]["git"],
            "logs_kept": kept,
            "files": checksums(part, part.rglob("*")),
        }
        write_json(part / NAME, record)
        for path in part.rglob("*"):
            if path.is_file():
                path.chmod(0o444)
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Release(target, results.name, version, record["date"], record)


def _require(folder: Path, problems: list[str]) -> None:
    if problems:
        shown = [f"{folder}: {problem}" for problem in problems[:20]]
        more = [f"{folder}: and {len(problems) - 20} more"] if len(problems) > 20 else []
        raise ReleaseError("\n".join([*shown, *more, f"{folder} cannot be released: complete it and try again"]))
