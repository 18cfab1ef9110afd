"""All tables of a run from its logs: built in memory, then written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from nino.files import write_json, write_text
from nino.report.captions import headline, plan_notes, spikes_sentence, worth_sentence
from nino.report.fixed_steps import fixed_step_table
from nino.report.nowcast_losses import nowcast_table
from nino.report.origins import origins_table
from nino.report.rendering import Table, rst_escape
from nino.report.runs import Runs, read_some_runs
from nino.report.steps_to_target import summary_table, table2
from nino.report.task_descriptions import table1
from nino.report.timing import timing_table
from nino.specs import ReportSpec

MAIN_TABLES = ("table1", "table2", "summary")  # what `console_text` prints


def build_tables(runs: Runs) -> list[Table]:
    """Every table of the report, with the sentences on what it shows."""
    sentences = headline(runs)
    spikes = tuple(spikes_sentence(runs, method) for method in runs.spec.nowcasting())
    tables = [
        table1(runs),
        replace(table2(runs), findings=sentences),
        replace(summary_table(runs), findings=sentences),
        replace(fixed_step_table(runs), findings=tuple(worth_sentence(runs, task) for task in runs.spec.tasks)),
        replace(nowcast_table(runs), findings=spikes),
        timing_table(runs),
        origins_table(runs),
    ]
    return [replace(table, notes=(*table.notes, *plan_notes(runs.spec))) for table in tables]


def write_tables(results: Path, spec: ReportSpec, folder: Path | None = None) -> list[Table]:
    """Read a run's logs and write its tables.

    Writes ``<name>.{csv,md,tex,html,rst}`` for each table, ``summary.json`` (the headline numbers and sentences) and
    ``captions/<name>.rst`` (the computed part of the report's captions).

    Args:
        results: the run's directory, ``results/<run>``.
        spec: what belongs to the report.
        folder: where to write; default ``<results>/tables``.

    Returns:
        The tables.

    Raises:
        CorruptRunError: where a run's files are damaged; nothing is written then.
    """
    folder = results / "tables" if folder is None else folder
    runs = read_some_runs(results, spec)
    tables = build_tables(runs)
    for table in tables:
        table.write(folder)
        write_caption(folder, table.name, table.findings)
    write_json(folder / "summary.json", summary(runs, tables))
    return tables


def write_caption(folder: Path, name: str, sentences: tuple[str, ...]) -> Path:
    """Write the computed part of a caption, to be included by the report's caption of that name."""
    path = folder / "captions" / f"{name}.rst"
    write_text(path, rst_escape(" ".join(sentences)) + "\n")
    return path


def summary(runs: Runs, tables: list[Table]) -> dict[str, Any]:
    """The headline: sentences, and a plain mapping per method of the table over all tasks."""
    overall = next(table for table in tables if table.name == "summary")
    # JSON has no NaN: missing values are null
    rows = overall.data.astype(object).where(overall.data.notna(), None).to_dict("records")
    statuses = runs.frame.status.value_counts()
    return {
        "run": runs.spec.run,
        "tasks": [task.id for task in runs.spec.tasks],
        "seeds": list(runs.spec.seeds),
        "runs": {str(status): int(count) for status, count in sorted(statuses.items())},
        "sentences": {table.name: list(table.findings) for table in tables},
        "methods": rows,
    }


def console_text(tables: list[Table]) -> str:
    """The main tables for a terminal, as ``make smoke`` prints them.

    Args:
        tables: what `write_tables` returned.
    """
    return "\n\n".join(table.plain().rstrip() for table in tables if table.name in MAIN_TABLES) + "\n"
