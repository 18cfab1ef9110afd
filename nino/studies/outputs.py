"""Writing a study: its table, caption and figures, and a manifest of what they were made from, with checksums."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nino.files import sha256, write_json
from nino.nowcasters.download import KNOWN
from nino.provenance import provenance
from nino.report.build import write_caption
from nino.report.rendering import Table
from nino.specs import Spec


def write_study(
    results: Path, table: Table, spec: Spec, seconds: float, weights: str | None = None, figures: Iterable[Path] = ()
) -> None:
    """Write a study's ``tables/<name>.*``, the caption beside them and ``manifests/<name>.json``.

    Args:
        results: folder of the run.
        table: the study's; has its name.
        spec: of the study.
        seconds: that the study took.
        weights: file or known name of the nowcaster it used.
        figures: files that the study has written already, below ``results``.
    """
    files = [*table.write(results / "tables"), write_caption(results / "tables", table.name, table.findings), *figures]
    outputs = {file.relative_to(results).as_posix(): sha256(file) for file in sorted(files)}
    origin = {"study": table.name, "seconds": seconds, **provenance(**inputs_of(spec, weights))}
    write_json(results / "manifests" / f"{table.name}.json", {**origin, "outputs": outputs})


def inputs_of(spec: Spec, weights: str | None) -> dict[str, object]:
    """What a study is made from, for `nino.provenance.provenance`.

    Args:
        spec: of the study.
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
