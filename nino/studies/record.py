"""The manifest of a study: what it was told, what it was made from, what came out, each file with its checksum."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nino.files import sha256, write_json
from nino.nowcasters.download import KNOWN
from nino.provenance import provenance
from nino.specs import Spec


def write_record(
    results: Path, name: str, spec: Spec, files: Iterable[Path], seconds: float, weights: str | None = None
) -> Path:
    """Write ``manifests/<name>.json``.

    Args:
        results: folder of the run.
        name: of the study.
        spec: what it was told.
        files: what it wrote, below ``results``.
        seconds: that it took.
        weights: file or known name of the nowcaster it used.

    Returns:
        The manifest's path.
    """
    path = results / "manifests" / f"{name}.json"
    outputs = {file.relative_to(results).as_posix(): sha256(file) for file in sorted(files)}
    write_json(path, {"study": name, "seconds": seconds, **provenance(**inputs_of(spec, weights)), "outputs": outputs})
    return path


def inputs_of(spec: Spec, weights: str | None) -> dict[str, object]:
    """What a study is made from, for `nino.provenance.provenance`.

    Args:
        spec: what it was told.
        weights: file or known name of the nowcaster it uses; None for none.

    Returns:
        The spec, and names and checksums of the weights.
    """
    inputs: dict[str, object] = {"spec": spec}
    if weights and Path(weights).is_file():
        inputs["weights"] = {"file": Path(weights).name, "sha256": sha256(Path(weights))}
    elif weights:
        inputs["weights"] = {part.file: part.sha256 for part in KNOWN[weights.removesuffix(".pt")]}
    return inputs
