"""The table of what nowcasts cost a training, with published values beside the measured ones."""

from __future__ import annotations

import math
import time
from operator import itemgetter
from pathlib import Path
from typing import Any

from nino.report.columns import Column, Row, fixed, lay_out
from nino.report.formats import EMPTY, number, significant
from nino.report.published import published, source_texts
from nino.report.rendering import Table
from nino.specs import OverheadSpec
from nino.studies.outputs import write_study
from nino.studies.overhead import COMPARED, CONTEXT, HORIZON, METHODS, REPEATS, Cost
from nino.studies.overhead_rows import costs

NAME = "overhead"
GB = 1e9
PUBLISHED = {  # hidden size and rows of the published measurement, of the largest of the models
    ("llama-6-384", "adam"): "adam",
    ("llama-6-384", "wnn+"): "wnn_plus_h32",
    ("llama-6-384", "nino"): "nino_h32",
    ("llama-6-384", "l2o"): "l2o_mlp_h32",
}
PUBLISHED_HIDDEN = 32


def table(measured: list[Cost], spec: OverheadSpec) -> Table:
    """The overhead table: measured values, the published ones beside the model and the size they are of."""
    adam = {cost.model: cost.seconds for cost in measured if cost.method == "adam"}
    columns = (
        Column("Model", lambda row: f"{row['model']} ({row['parameters'] / 1e6:.1f}M)"),
        Column("Method", lambda row: METHODS[row["method"]]),
        Column("Peak memory, GB", lambda row: significant(row["peak_bytes"] / GB)),
        Column(
            "Seconds", lambda row: f"{_seconds(row['cost'])} a {'step' if row['first_seconds'] is None else 'nowcast'}"
        ),
        Column("First nowcast, s", lambda row: _optional(row["first_seconds"])),
        Column("Share of training, %", fixed("share_percent", 2)),
        Column("Off the exact nowcast, %", lambda row: _optional(row["difference"], 100), optional=True),
        Column("Published", _published_text, optional=True),
    )
    device = measured[0].device
    sources = published("overhead_llama_111m")
    cited = "; ".join(source_texts()[key] for key in sources.sources) if sources else ""
    parts = f" in {spec.accumulate} parts" if spec.accumulate > 1 else ""
    given = f", NiNo those of {spec.nowcaster}" if spec.nowcaster else ""
    notes: tuple[str, ...] = (
        f"Base step: AdamW, {spec.batch} x {spec.tokens} tokens{parts}, {spec.precision}, on {device}. Seconds: median "
        f"(least to most) of {REPEATS - 1} nowcasts or steps after the first. Nowcasters have hidden "
        f"size {spec.hidden} and random weights{given}. Share: one nowcast every {spec.period} steps; for L2O, what "
        "its step takes longer than Adam's.",
        "Peak memory: above that of the process before the model was built, parameters, optimizer and saved states "
        "included; of steps for Adam and L2O, while nowcasting for the others (on a CPU with what training has not "
        "given back).",
        f"Published: peak memory, seconds, share of training; hidden size {PUBLISHED_HIDDEN}, batch and GPU of the "
        f"paper ({cited}).",
    )
    if any(cost.difference is not None for cost in measured):
        notes += (
            f"Off the exact nowcast: norm of the difference over the norm of the exact change, {HORIZON} states ahead "
            f"after {CONTEXT * COMPARED} steps on random tokens, the states one step apart.",
        )
    return lay_out(
        NAME,
        "What nowcasts cost a training",
        columns,
        [_row(cost, spec, adam.get(cost.model, math.nan)) for cost in measured],
        hidden=("cost", "published"),
        group=itemgetter("model"),
        notes=notes,
        findings=findings(measured, spec),
    )


def _row(cost: Cost, spec: OverheadSpec, adam_seconds: float) -> dict[str, Any]:
    source = published("overhead_llama_111m", PUBLISHED.get((cost.model, cost.method), ""))
    values = source.value if source else {}
    least, most = cost.spread
    return {
        **{key: value for key, value in vars(cost).items() if key != "spread"},
        "seconds_least": least,
        "seconds_most": most,
        "share_percent": cost.share(spec.period, adam_seconds),
        **{f"published_{key}": value for key, value in values.items()},
        "cost": cost,
        "published": values,
    }


def _optional(value: float | None, scale: float = 1.0) -> str:
    return EMPTY if value is None else significant(scale * value)


def _seconds(cost: Cost) -> str:
    least, most = map(significant, cost.spread)
    return significant(cost.seconds) + ("" if math.isnan(cost.spread[0]) else f" ({least} to {most})")


def _published_text(row: Row) -> str:
    values = row["published"]
    if not values:
        return EMPTY
    return f"{values['peak_gb']} GB, {values['seconds']} s a {values['per']}, {values['overhead_percent']} %"


def findings(measured: list[Cost], spec: OverheadSpec) -> tuple[str, ...]:
    """Two sentences from the numbers: what nowcasts cost the largest model, and their share over all models."""
    largest = max(measured, key=lambda cost: cost.parameters)
    nowcasts = [c for c in measured if c.first_seconds is not None]
    cells = [f"{_seconds(c)} s a nowcast of {METHODS[c.method]}" for c in nowcasts if c.model == largest.model]
    if not cells:
        return ()
    name, step = f"{largest.model}, {largest.parameters / 1e6:.1f}M parameters", significant(largest.step_seconds)
    shares: dict[str, list[float]] = {}
    for cost in nowcasts:
        shares.setdefault(METHODS[cost.method], []).append(cost.share(spec.period))
    spans = [
        f"{label} {number(min(values), 2)} to {number(max(values), 2)} % of training (n = {len(values)})"
        for label, values in shares.items()
    ]
    return (
        f"{name}: {' and '.join(cells)} (median, least to most, n = {REPEATS - 1}), {step} s a base step.",
        f"Over all models a nowcast every {spec.period} steps takes of {', of '.join(spans)}.",
    )


def study(spec: OverheadSpec, results: Path, device: str = "cpu") -> Table:
    """Measure and write ``tables/overhead.*`` and ``manifests/overhead.json``.

    Until then ``unfinished-overhead.json`` keeps the rows that are done, for an attempt after a killed one.

    Args:
        spec: what to measure.
        results: folder of the run.
        device: where to.

    Returns:
        The table.

    Raises:
        ValueError: as `nino.studies.overhead_rows.costs`.
    """
    start = time.perf_counter()
    unfinished = results / f"unfinished-{NAME}.json"
    result = table(costs(spec, device, unfinished), spec)
    write_study(results, result, spec, time.perf_counter() - start, spec.nowcaster)
    unfinished.unlink()
    return result
