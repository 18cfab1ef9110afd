"""The figures of ``make gpu`` as a page of Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Part = dict[str, Any]


def table(parts: Sequence[Part]) -> str:
    """A line a part: what it showed, or why it failed."""
    device = parts[0]["device"] if parts else "?"
    lines = [
        f"# What {device} shows",
        "",
        "Written by `make gpu`.",
        "",
        "| part | seconds taken | shows |",
        "|---|---|---|",
    ]
    for part in parts:
        shown = _failure(part["error"]) if part["error"] else _shown(part["part"], part["result"])
        lines.append(f"| {part['part']} | {part['seconds']} | {shown} |")
    return "\n".join(lines) + "\n"


def _failure(error: str) -> str:
    return "FAILED: " + error.strip().splitlines()[-1].replace("|", "\\|")[:200]


def _shown(name: str, result: dict[str, Any]) -> str:
    kind = name.partition("-")[0]
    if kind == "stage":
        return "the CPU's numbers"
    if kind == "nowcast":
        return _nowcast(result)
    if kind == "fit":
        return (
            f"{result['iterations_per_second']} iterations a second; a step {result['step_ms']} ms, "
            f"its wait for data {result['wait_ms']} ms"
        )
    if kind == "ensemble":
        return f"{result['steps_per_second']:.0f} steps a second, {result['speedup']} times as fast as one by one"
    if kind == "language":
        memory = f"peak {result['peak_bytes'] / 1e9:.2f} GB"
        return f"{result['steps_per_second']:.2f} steps a second of {result['batch']} blocks, {memory}"
    return f"{result['total']['seconds'] / 3600:.1f} hours in {result['total']['jobs']} jobs (plan.json)"


def _nowcast(result: dict[str, Any]) -> str:
    if not result["fits"]:
        return f"does not fit: {result['reason']}"
    aims = []
    if result["aim_seconds"] is not None:
        aims.append(f"aim {result['aim_seconds']} s")
    if result["aim_bytes"] is not None:
        aims.append(f"{result['aim_bytes'] / 1e9:.0f} GB")
    share = f"{result['share_of_plain_products']:.2f} of {2e-12 * result['products_per_second']:.1f} TFLOP/s"
    text = f"{result['median_seconds']:.3f} s, peak {result['peak_above_bytes'] / 1e9:.2f} GB, {share}"
    return text + (f" ({', '.join(aims)})" if aims else "")
