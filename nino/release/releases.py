"""Releases: ``results/<name>-v<N>/`` is a run's tables and figures, frozen once with the checksum of every file."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nino.evaluate.run_folder import COPIES, RESULT
from nino.files import replacing_folder, write_json, write_text
from nino.leases import lease, sweep
from nino.release.changes import changelog, changes
from nino.release.manifest import FITS, STUDIES, checksums, read_manifest, read_record, study_manifest
from nino.release.manifest import NAME as MANIFEST
from nino.release.verify import compare_checksums, verify_run, verify_studies
from nino.report.runs import Key
from nino.specs import ReportSpec
from nino.specs.report import FIGURE_FORMATS, TABLE_FORMATS, TABLES, figures

FORMAT = 1
NAME = "RELEASE.json"
CHANGES = "CHANGES.md"
FROZEN = ("tables", "figures")
LOGS = ("evaluate", "data")
FITTED = ("best.safetensors", "README.md", "*.csv")
LOGS_LIMIT = 16 * 2**20  # bytes; larger logs are not copied, and the tables cannot be rebuilt from the release
VERSION = re.compile(r"(?P<name>.+)-v(?P<version>\d+)")


class ReleaseError(ValueError):
    """A run that cannot be released, or a release that was altered."""


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

    @property
    def complete(self) -> bool:
        """Whether it has every run that was planned; a study that trains nothing has none."""
        return bool(self.record["runs"]) and "missing" not in self.record["runs"]


def release(results: Path, graphs: bool = True, incomplete: bool = False) -> Release:
    """Freeze a run as its next version.

    Copies tables, figures and manifests, fitted weights with their cards, and the logs where they are small (16 MiB)
    to ``results/<name>-v<N>``; writes ``CHANGES.md``, what moved since the version before, and ``RELEASE.json``, the
    checksum of every file.

    Args:
        results: the run's directory, ``results/<name>``; unchanged.
        graphs: whether pictures of neural graphs belong to a complete run.
        incomplete: release it although planned runs are missing; the record and the tables count them.

    Returns:
        The release.

    Raises:
        ReleaseError: for a run that is incomplete, altered since its manifest, made by code that no commit holds, or
            the same as the version before; a version before that is altered itself; the name of a release instead of a
            run's.
        ManifestError: for a run without a readable manifest.
    """
    if VERSION.fullmatch(results.name):
        raise ReleaseError(f"{results} is a release, which never changes; give the run that it was made from")
    manifest = read_manifest(results) if (results / MANIFEST).exists() else study_manifest(results)
    problems = [*gaps(results, manifest, graphs, incomplete)] if "report" in manifest else []
    _require(results, [*problems, *uncommitted(results, manifest), *verify(results)])
    earlier = [one for one in releases(results.parent) if one.name == results.name]
    previous = earlier[-1] if earlier else None
    if previous is not None:
        _require(previous.folder, verify(previous.folder))
        frozen = {name: digest for name, digest in previous.record["files"].items() if name.split("/")[0] in FROZEN}
        if frozen == manifest["artifacts"]:
            raise ReleaseError(f"{results}: tables and figures are those of {previous.folder.name}: nothing to release")
    version = previous.version + 1 if previous else 1
    target = results.parent / f"{results.name}-v{version}"
    if target.exists():
        raise ReleaseError(f"{target} is there and is no release ({NAME} is missing); move it away")
    return _freeze(results, manifest, previous, target, version)


def gaps(results: Path, manifest: dict[str, Any], graphs: bool = True, incomplete: bool = False) -> Iterator[str]:
    """What a complete run would have: a sentence per missing run, table and figure.

    Args:
        results: the run's directory.
        manifest: its manifest.
        graphs: whether pictures of neural graphs belong to it.
        incomplete: whether runs may be missing.
    """
    for key, entry in manifest["runs"].items():
        if entry["status"] == "missing" and not incomplete:
            yield f"evaluate/{key}: the run is missing"
    spec = ReportSpec.from_dict(manifest["report"])
    files = [f"tables/{name}.{kind}" for name in TABLES for kind in TABLE_FORMATS]
    files += [f"figures/{figure.name}.{kind}" for figure in figures(spec, graphs) for kind in FIGURE_FORMATS]
    for name in files:
        if not (results / name).exists():
            yield f"{name}: missing"
        elif name not in manifest["artifacts"]:
            yield f"{name}: not in {MANIFEST}; write the manifest anew (`nino manifest`)"


def uncommitted(results: Path, manifest: Mapping[str, Any]) -> Iterator[str]:
    """What was made by code that no commit holds: a sentence per run, fit and study, and for tables and figures.

    Args:
        results: the run's directory.
        manifest: its manifest.
    """
    made: dict[str, Any] = {MANIFEST: manifest.get("provenance")}
    made |= manifest.get("fits", {})
    for key, entry in manifest["runs"].items():
        task, method, seed = key.split("/")
        path = Key(task, method, int(seed)).folder(results) / RESULT
        if entry["status"] != "missing" and path.is_file():
            name = path.relative_to(results).as_posix()
            made[name] = json.loads(path.read_text(encoding="utf-8")).get("provenance")
    for path in sorted((results / STUDIES).glob("*.json")):
        made[path.relative_to(results).as_posix()] = json.loads(path.read_text(encoding="utf-8"))
    commits = sorted({git["commit"][:10] for git in manifest["made_with"]["git"] if git})
    for name, origin in made.items():
        git = (origin or {}).get("git") or {}
        if git.get("dirty"):
            yield (
                f"{name}: made by commit {git['commit'][:10]} and changes that no commit holds (commits of the run: "
                f"{', '.join(commits)}); commit them and make it again"
            )


def releases(folder: Path) -> list[Release]:
    """All releases in a folder of results, by name and version.

    Raises:
        ReleaseError: for a release whose record cannot be read, or that was renamed.
    """
    every = []
    for path in folder.glob(f"*/{NAME}"):
        record = read_release(path.parent)
        if path.parent.name != f"{record['name']}-v{record['version']}":
            raise ReleaseError(
                f"{path.parent}: was released as {record['name']}-v{record['version']}: name it so again"
            )
        every.append(Release(path.parent, record["name"], record["version"], record["date"], record))
    return sorted(every, key=lambda one: (one.name, one.version))


def read_release(folder: Path) -> dict[str, Any]:
    """Read a release's record.

    Raises:
        ReleaseError: where it is missing, no JSON or of another format.
    """
    made_by = "`nino release` makes releases"
    return read_record(folder / NAME, (FORMAT,), "the record of a release", made_by, ReleaseError)


def verify(folder: Path) -> list[str]:
    """Check a run against its manifest; of a release also that no file was altered or added.

    The tables of a release are compared with its logs where these were kept.

    Args:
        folder: ``results/<run>`` or ``results/<name>-v<N>``.

    Returns:
        A sentence per difference, each beginning with the file; empty where everything agrees.

    Raises:
        ManifestError: for a run without a readable manifest.
        ReleaseError: for a release without a readable record.
    """
    has_studies = any((folder / STUDIES).glob("*.json"))
    checks = [verify_run] * ((folder / MANIFEST).exists() or not has_studies) + [verify_studies] * has_studies
    if not (folder / NAME).exists():
        return [sentence for check in checks for sentence in check(folder)]
    record = read_release(folder)
    differences = compare_checksums(folder, record["files"], "altered since the release")
    there = checksums(folder, (path for path in folder.rglob("*") if path.name != NAME))
    differences += [f"{name}: added since the release" for name in there if name not in record["files"]]
    if differences:
        return differences
    if (folder / "evaluate").exists() or not (folder / MANIFEST).exists():  # else its logs were too large to keep
        differences = [sentence for check in checks for sentence in check(folder)]
        if not any(name.startswith(FITS) for name in there):  # releases of the first version left fits out
            differences = [sentence for sentence in differences if not sentence.startswith(FITS)]
    return [*_other_record(folder, record), *differences]


def _other_record(folder: Path, record: Mapping[str, Any]) -> Iterator[str]:
    """Where a release's record does not say what its manifest does."""
    manifest = read_manifest(folder) if (folder / MANIFEST).exists() else study_manifest(folder)
    for key, given in {"runs": _statuses(manifest), "made_with": manifest["made_with"]["git"]}.items():
        if record[key] != given:
            yield f"{NAME}: {key} is {record[key]}, the manifest gives {given}"


def _statuses(manifest: Mapping[str, Any]) -> dict[str, int]:
    """How many planned runs have which status."""
    statuses = [entry["status"] for entry in manifest["runs"].values()]
    return {status: statuses.count(status) for status in sorted(set(statuses))}


def _freeze(results: Path, manifest: dict[str, Any], previous: Release | None, target: Path, version: int) -> Release:
    """Copy to a temporary folder, and rename it once it is complete."""
    logs = [path for part in LOGS for path in (results / part).rglob("*") if path.suffix in (".json", ".csv")]
    logs = [path for path in logs if path.parent.name != COPIES]
    logs_kept = sum(path.stat().st_size for path in logs) <= LOGS_LIMIT
    files = [path for part in (*FROZEN, STUDIES) for path in (results / part).rglob("*") if path.is_file()]
    files += [path for path in (results / MANIFEST,) if path.is_file()]
    files += [path for part in FITS for kind in FITTED for path in (results / part).glob(f"*/{kind}")]
    with lease(target) as held, replacing_folder(target) as part:
        sweep(target.parent, target.name)
        for path in [*files, *(logs if logs_kept else [])]:
            copy = part / path.relative_to(results)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        moved = changes(previous.folder / "tables", part / "tables") if previous else []
        write_text(part / CHANGES, changelog(target.name, moved, previous.folder.name if previous else None))
        record = {
            "format": FORMAT,
            "name": results.name,
            "version": version,
            "date": datetime.now(UTC).date().isoformat(),
            "previous": previous.folder.name if previous else None,
            "runs": _statuses(manifest),
            "made_with": manifest["made_with"]["git"],
            "logs_kept": logs_kept,
            "files": checksums(part, part.rglob("*")),
        }
        write_json(part / NAME, record)
        for path in part.rglob("*"):
            if path.is_file():
                path.chmod(0o444)
        held.require()
    return Release(target, results.name, version, record["date"], record)


def _require(folder: Path, problems: list[str]) -> None:
    if problems:
        shown = [f"{folder}: {problem}" for problem in problems[:20]]
        more = [f"{folder}: and {len(problems) - 20} more"] if len(problems) > 20 else []
        raise ReleaseError("\n".join([*shown, *more, f"{folder} cannot be released: complete it and try again"]))
