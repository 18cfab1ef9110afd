"""From evaluated runs to tables, figures and the record of where they come from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from nino.cli import select
from nino.cli.options import ConfigFiles, DataDir, OutFolder, SpecFile
from nino.config.errors import ConfigError

Results = Annotated[
    Path | None, typer.Option("--results", help="Folder of the run; default results/<run> of the spec or config.")
]


def tables(spec: SpecFile = None, config: ConfigFiles = None, results: Results = None, out: OutFolder = None) -> None:
    """Read a run's logs, write its tables (CSV, Markdown, LaTeX) and print the main ones."""
    job = select.report_job(spec, config)
    from nino.report.build import console_text, write_tables

    typer.echo(console_text(write_tables(_results(results, job, out), job.unit, out)), nl=False)


def figures(
    spec: SpecFile = None,
    config: ConfigFiles = None,
    results: Results = None,
    out: OutFolder = None,
    data_dir: DataDir = None,
) -> None:
    """Read a run's logs and draw its figures (SVG, PNG)."""
    job = select.report_job(spec, config)
    folder, where = _results(results, job, out), job.data_dir(data_dir)
    from nino.report.figures import write_figures
    from nino.tasks import load_task
    from nino.tasks.model_graphs import task_graph

    tasks = [load_task(task, where) for task in job.unit.tasks]
    graphs = {task.spec.id: task_graph(task, task.build_model(0)) for task in tasks}
    write_figures(folder, job.unit, graphs, out)


def manifest(
    spec: SpecFile = None,
    config: ConfigFiles = None,
    results: Results = None,
    resolved: Annotated[
        Path | None, typer.Option(help="The whole config as resolved (JSON), with SPEC; --config knows it.")
    ] = None,
) -> None:
    """Record where every number of a run comes from: config, seeds, versions, hardware, commit, checksums (JSON)."""
    job = select.report_job(spec, config)
    from nino.release.manifest import write_manifest

    merged = job.experiment.config if job.experiment else _read(resolved) if resolved else None
    write_manifest(_results(results, job), job.unit, merged)


def verify(
    folders: Annotated[list[Path], typer.Argument(metavar="RESULTS...", help="Folders of runs, e.g. results/smoke")],
) -> None:
    """Make again what follows from a run's logs and compare it with what is there; exit with 1 if anything differs.

    A release is held to its own record, too. Of `results/*`, files beside the folders are left out.
    """
    from nino.release.releases import verify as differences_of
    from nino.release.verify import by_checksum

    count = 0
    for results in [path for path in folders if len(folders) == 1 or not path.is_file()]:
        differences = differences_of(results)
        count += len(differences)
        for sentence in differences:
            typer.echo(sentence if len(folders) == 1 else f"{results}: {sentence}")
        typer.echo(f"{results}: {len(differences)} differences" if differences else f"{results}: everything agrees")
        if not differences and (held := by_checksum(results)):
            typer.echo(f"{results}: held to checksums alone: {'; '.join(held)}")
    if count:
        raise typer.Exit(1)


def study(
    name: Annotated[str, typer.Argument(help="Name of the study, such as table3; see nino/report/studies.yaml.")],
    spec: SpecFile = None,
    config: ConfigFiles = None,
    results: Results = None,
    out: OutFolder = None,
) -> None:
    """Write a study's table from a run's logs, published values beside the measured ones, and its figure."""
    job = select.report_job(spec, config)
    from nino.report.study_results import write_study

    folder = _results(results, job, out)
    typer.echo(write_study(name, folder, job.unit, folder if out is None else out).plain())


def release(
    name: Annotated[str, typer.Argument(help="Name of the run; its folder is results/NAME.")],
    folder: Annotated[Path, typer.Option("--results", help="Folder of all results.")] = Path("results"),
    incomplete: Annotated[bool, typer.Option("--incomplete", help="Although planned runs are missing.")] = False,
) -> None:
    """Freeze a complete run as results/NAME-v<N>: tables, figures, manifest, checksums, what moved since before."""
    from nino.release.releases import release as freeze

    made = freeze(folder / name, incomplete=incomplete)
    logs = "with its logs" if made.record["logs_kept"] else "without its logs, which are large"
    typer.echo(f"{made.folder}: {len(made.record['files'])} files, {logs}; what moved: {made.folder / 'CHANGES.md'}")


def leaderboard(
    folder: Annotated[Path, typer.Option("--results", help="Folder of all results.")] = Path("results"),
) -> None:
    """Write the table of all releases and their methods (Markdown, HTML, CSV)."""
    from nino.release.leaderboard import write_leaderboard

    for path in write_leaderboard(folder):
        typer.echo(path)


def _read(resolved: Path) -> Mapping[str, Any]:
    """The config as resolved.

    Raises:
        ConfigError: where the file is missing or no JSON.
    """
    try:
        return json.loads(resolved.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError([f"--resolved (={resolved}): {error}"]) from None


def _results(given: Path | None, job: select.Job[select.ReportSpec], out: Path | None = None) -> Path:
    """The folder of the run; refused if the command would write into a release, which never changes."""
    results = given or Path("results", job.unit.run)
    if not results.is_dir():
        raise ConfigError([f"{results}: there is no such folder; nothing of this run has been made here"])
    written = results.resolve() if out is None else out.resolve()
    for folder in (written, *written.parents):
        if (folder / "RELEASE.json").exists():
            raise ValueError(
                f"{folder} is a release, which never changes; write elsewhere (--out), or copy it to a run"
            )
    return results
