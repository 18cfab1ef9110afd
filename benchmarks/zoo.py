"""Which models have a recorded graph: torchvision, timm's families, transformers' model types, and what must work.

    python -m benchmarks.zoo torchvision --out benchmarks/results/zoo_torchvision.csv --verify 700

Each model is built, recorded and renumbered in a process of its own, of limited time and memory. Its row says the share
of parameters on edges (of those that the forward reads), what is carried and why, whether renumbering in float64 keeps
the outputs, and the seconds to record. Rows that the file has already are kept: a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import gc
import logging
import multiprocessing
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from benchmarks.zoo_models import LIBRARIES, Model, NotSmallError
from benchmarks.zoo_rows import NOTHING, Row, counts, read, settled, write
from nino.graphs import NeuralGraph, neural_graph
from nino.graphs.structure import UNREAD
from nino.measure import clock, peak_bytes


def measure(model: Model, verify: float) -> Row:
    """Build, record and, where it has at most ``verify`` million parameters, renumber one model."""
    torch.manual_seed(0)
    try:
        net, example = model.build()
    except NotSmallError as error:
        return {"outcome": "not small", "why": str(error)}
    except Exception as error:  # a model that cannot be built says nothing about graphs
        return {"outcome": "not built", "why": _said(error)}
    number = sum(p.numel() for p in net.parameters())
    row: Row = {"parameters": number}
    graphs: list[NeuralGraph] = []
    seconds = clock("cpu")
    try:
        memory = peak_bytes(lambda: graphs.append(neural_graph(net, "exact", example=example)), "cpu")
    except Exception as error:  # the row says which
        row |= {"outcome": "refused", "why": _said(error.__cause__ or error)}
        try:
            with torch.no_grad():
                _run(net.eval(), example)
        except Exception as of_forward:
            row |= {"outcome": "does not run", "why": _said(of_forward)}
        return row
    graph = graphs[0]
    row |= {"seconds": round(clock("cpu") - seconds, 2), "megabytes": round(memory / 1e6)}
    carried = {p.name: p.numel for p in graph.parameters if p.name in set(graph.carried)}
    unread = sum(n for name, n in carried.items() if graph.reasons.get(name) == UNREAD)
    reasons = dict.fromkeys(reason for reason in graph.reasons.values() if reason != UNREAD)
    share = 1 - (sum(carried.values()) - unread) / max(number - unread, 1)
    row |= {"unread": unread, "on_edges": round(share, 4), "outcome": "recorded", "why": "; ".join(reasons)}
    if number <= verify * 1e6:
        try:
            checked = graph.verify(net, example)
        except Exception as error:
            return row | {"verified": "error", "why": _said(error)}
        said = "no" if not checked else "yes" if checked.renumbered else NOTHING
        row |= {"verified": said, "renumbered": len(checked.renumbered)}
        if not checked:
            row["why"] = "; ".join([*reasons, str(checked)])
    return row


def _run(net: torch.nn.Module, example: Any) -> Any:
    if isinstance(example, dict):
        return net(**example)
    return net(*example) if isinstance(example, tuple) else net(example)


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


@dataclass(frozen=True, slots=True)
class Limits:
    """What is done with a model, and what it may take.

    Args:
        verify: models of at most so many million parameters are renumbered.
        seconds: of computing; ten times as many by the wall clock, since others compute, too.
        gigabytes: of memory.
        workers: models at a time.
    """

    verify: float
    seconds: int
    gigabytes: float
    workers: int


def in_processes(models: Iterable[Model], limits: Limits) -> Iterator[tuple[Model, Row]]:
    """``measure`` of each model in a process of its own, in the order in which they finish."""
    context = multiprocessing.get_context("fork")
    running: dict[Connection, tuple[Model, Any, float]] = {}
    waiting = iter(models)
    while True:
        for model in islice(waiting, limits.workers - len(running)):
            mine, its = context.Pipe(duplex=False)
            process = context.Process(target=_child, args=(model, limits, its))
            process.start()
            its.close()
            running[mine] = (model, process, time.monotonic() + 10 * limits.seconds)
        if not running:
            return
        ready = wait(running, timeout=1.0)
        for mine, (model, process, deadline) in list(running.items()):
            if mine in ready or time.monotonic() > deadline:
                del running[mine]
                yield model, _ended(mine, process, limits)


def _ended(mine: Connection, process: Any, limits: Limits) -> Row:
    row: Row | None = None
    with suppress(EOFError):
        row = mine.recv() if mine.poll() else None
    if row is None:
        process.join(1.0)
        late = process.exitcode in (None, -signal.SIGXCPU, -signal.SIGKILL)
        why = f"more than {limits.seconds} s" if late else f"the process died with {process.exitcode}"
        row = {"outcome": "refused", "why": why}
    process.kill()
    process.join()
    return row


def _child(model: Model, limits: Limits, out: Connection) -> None:
    limit = int(limits.gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.seconds, limits.seconds))
    try:
        row = measure(model, limits.verify)
    except MemoryError:
        row = {"outcome": "refused", "why": f"MemoryError: more than {limits.gigabytes} GB"}
    except BaseException as error:
        row = {"outcome": "refused", "why": _said(error)}
        traceback.print_exc()
    out.send(row)
    out.close()
    os._exit(0)


def main(arguments: list[str] | None = None) -> None:
    """Write a row a model, and print a line a library and kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("libraries", nargs="+", choices=LIBRARIES)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--verify", type=float, default=100.0, help="million parameters up to which models are verified"
    )
    parser.add_argument("--seconds", type=int, default=120, help="that a model may take")
    parser.add_argument("--memory", type=float, default=6.0, help="GB that a model may take")
    parser.add_argument("--workers", type=int, default=1, help="models at a time")
    parser.add_argument("--only", default="", help="models whose name contains this")
    parser.add_argument("--again", action="store_true", help="measure anew what is not recorded whole and verified")
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    limits = Limits(options.verify, options.seconds, options.memory, options.workers)
    rows = {(row["library"], row["model"]): row for row in read(options.out)}
    neural_graph(torch.nn.Linear(2, 3), "exact", example=torch.zeros(1, 2))  # imports what is needed before the forks
    for library in options.libraries:
        models = list(LIBRARIES[library]())
        gc.freeze()
        done = {
            name for (lib, name), row in rows.items() if lib == library and not (options.again and not settled(row))
        }
        chosen = [m for m in models if options.only in m.name and m.name not in done]
        chosen.sort(key=lambda m: (library, m.name) in rows)  # new ones first
        for model, row in in_processes(chosen, limits):
            rows[library, model.name] = {"library": library, "kind": model.kind, "model": model.name, **row}
            write(options.out, rows.values())
            sys.stdout.write(f"{model.name}: {row['outcome']} {row.get('verified', '')} {row.get('why', '')}\n")
            sys.stdout.flush()
        order = [(library, model.name) for model in models]
        rows = {k: rows[k] for k in [*order, *(k for k in rows if k not in order)] if k in rows}
        write(options.out, rows.values())
    for row in counts(rows.values()):
        sys.stdout.write(
            "{library}, {kind}: {recorded} of {run} that run are recorded, {verified} verified\n".format(**row)
        )


if __name__ == "__main__":
    main()
