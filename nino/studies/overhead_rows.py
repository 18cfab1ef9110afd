"""Rows of the overhead table, each measured in a process of its own; after a kill, only those that are missing."""

from __future__ import annotations

import json
import logging
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from nino.files import write_json
from nino.provenance import provenance
from nino.specs import OverheadSpec
from nino.studies.outputs import inputs_of
from nino.studies.overhead import METHODS, MODELS, Cost, measure

logger = logging.getLogger(__name__)


def costs(spec: OverheadSpec, device: str, unfinished: Path | None = None) -> list[Cost]:
    """Measure every model with every method.

    Args:
        spec: what to measure.
        device: where to.
        unfinished: file that keeps the rows that are done. Those that lie there are taken over where the same code
            measured the same on the same machine; it stays until the caller removes it. None keeps none.

    Returns:
        A row for each model and method.

    Raises:
        ValueError: for a model or method that is not known, and a batch that does not divide into its parts.
        MemoryError: where the system killed the process of a row.
    """
    if spec.batch % spec.accumulate:
        raise ValueError(f"`batch` (={spec.batch}) must be a multiple of `accumulate` (={spec.accumulate})")
    for argument, values, allowed in (("models", spec.models, MODELS), ("methods", spec.methods, METHODS)):
        for value in values:
            if value not in allowed:
                raise ValueError(f"`{argument}` holds {value!r}; allowed are {', '.join(allowed)}")
    origin = {"device": device, **provenance(**inputs_of(spec, spec.nowcaster))}
    done = {} if unfinished is None else _read(unfinished, origin)
    rows = [(model, method) for model in spec.models for method in spec.methods]
    left = [row for row in rows if row not in done]
    with _alone() as pool:
        for row in tqdm(left, total=len(rows), initial=len(done), desc="measuring", unit="row", disable=None):
            done[row] = _measured(pool, spec, row, device)
            if unfinished is not None:
                write_json(unfinished, {"origin": origin, "rows": [asdict(cost) for cost in done.values()]})
    return [done[row] for row in rows]


def _measured(pool: ProcessPoolExecutor, spec: OverheadSpec, row: tuple[str, str], device: str) -> Cost:
    try:
        return pool.submit(measure, spec, *row, device).result()
    except BrokenProcessPool as error:
        raise MemoryError(
            f"the process that measured {row[1]} on {row[0]} was killed, most likely for want of memory: give it more, "
            "or leave the model or method out of `studies.overhead`; rows that are done are kept for the next attempt"
        ) from error


def _read(path: Path, origin: dict[str, Any]) -> dict[tuple[str, str], Cost]:
    """Rows of an attempt of the same origin; none where there is no such file."""
    if not path.exists():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        rows = [Cost(**{**row, "spread": tuple(row["spread"])}) for row in record["rows"]]
        same = record["origin"] == json.loads(json.dumps(origin))
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s cannot be read (%s): starting over", path, error)
        return {}
    if not same:
        logger.warning("%s is of other code, another machine or another study: starting over", path)
        return {}
    logger.info("%s: going on after %d rows", path, len(rows))
    return {(row.model, row.method): row for row in rows}


@contextmanager
def _alone() -> Iterator[ProcessPoolExecutor]:
    """A process for each task given to it, one at a time."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn, max_tasks_per_child=1) as pool:
        yield pool
