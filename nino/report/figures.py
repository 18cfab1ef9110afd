"""All figures of a run from its logs, written as SVG and PNG with the computed part of their captions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nino.drawing import save, styled
from nino.graphs import NeuralGraph
from nino.graphs.pictures import adjacency_figure, graph_sentence, layers_figure
from nino.report.across_tasks import profile
from nino.report.build import write_caption
from nino.report.captions import curves_sentence, profile_sentence, spikes_sentence, worth_sentence
from nino.report.jumps_by_tensor import jumps_figure, jumps_sentence
from nino.report.losses_near_nowcasts import losses_sentence
from nino.report.plots import curves_figure, profile_figure, worth_figure
from nino.report.runs import Runs, read_some_runs
from nino.report.schedule_plot import schedule_figure
from nino.report.spikes_plot import spikes_figure
from nino.specs import ReportSpec

TASK_FIGURES = {"curves": curves_figure, "worth": worth_figure, "spikes": spikes_figure, "jumps": jumps_figure}


def write_figures(
    results: Path, spec: ReportSpec, graphs: Mapping[str, NeuralGraph] | None = None, folder: Path | None = None
) -> list[Path]:
    """Read a run's logs and draw every figure of `nino.specs.report.figures`.

    Args:
        results: the run's directory, ``results/<run>``.
        spec: what belongs to the report.
        graphs: neural graphs of tasks' models, to be pictured; default none.
        folder: where to write; default ``<results>/figures``.

    Returns:
        All files: SVG, PNG and ``captions/<name>.rst``.

    Raises:
        CorruptRunError: where a run's files are damaged.
    """
    folder = results / "figures" if folder is None else folder
    runs = read_some_runs(results, spec)
    paths = write_captions(runs, folder)
    with styled():
        for task in spec.tasks:
            for kind, figure in TASK_FIGURES.items():
                paths += save(figure(runs, task), folder / f"{kind}-{task.id}")
            if graphs and task.id in graphs:
                graph, said = graphs[task.id], (graph_sentence(graphs[task.id]), *spec.remarks(task.id))
                for kind, picture in {"adjacency": adjacency_figure, "layers": layers_figure}.items():
                    paths += save(picture(graph), folder / f"graph-{kind}-{task.id}")
                    paths.append(write_caption(folder, f"graph-{kind}-{task.id}", said))
        paths += save(profile_figure(runs, profile(runs, spec.realizable)), folder / "profile")
        paths += save(schedule_figure(spec), folder / "schedule")
    return paths


def write_captions(runs: Runs, folder: Path) -> list[Path]:
    """Write the computed part of the caption of every figure that shows runs.

    Args:
        runs: the runs.
        folder: of the figures.

    Returns:
        The files, ``captions/<name>.rst``.
    """
    spec = runs.spec
    captions: dict[str, list[str]] = {}
    for task in spec.tasks:
        nowcasting, remarks = spec.nowcasting(task.id), spec.remarks(task.id)
        spikes = [spikes_sentence(runs, method, task.id) for method in nowcasting]
        spikes += filter(None, (losses_sentence(runs, method, task.id) for method in nowcasting))
        captions[f"curves-{task.id}"] = [curves_sentence(runs, task.id), *remarks]
        captions[f"worth-{task.id}"] = [worth_sentence(runs, task), *remarks]
        captions[f"spikes-{task.id}"] = [*spikes, *remarks]
        captions[f"jumps-{task.id}"] = [*(jumps_sentence(runs, method, task) for method in nowcasting), *remarks]
    captions["profile"] = [profile_sentence(runs, profile(runs, spec.realizable)), *spec.remarks()]
    captions["schedule"] = []
    return [write_caption(folder, name, tuple(sentences)) for name, sentences in captions.items()]
