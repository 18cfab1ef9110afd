"""All figures of a run from its logs, written as SVG and PNG with the computed part of their captions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from nino.drawing import save, styled
from nino.graphs import NeuralGraph
from nino.graphs.pictures import adjacency_figure, graph_sentence, layers_figure
from nino.report.across_tasks import profile
from nino.report.build import write_caption
from nino.report.captions import curves_sentence, profile_sentence, spikes_sentence, worth_sentence
from nino.report.jumps_by_tensor import jumps_figure, jumps_sentence
from nino.report.losses_near_nowcasts import losses_sentence
from nino.report.plots import curves_figure, profile_figure, worth_figure
from nino.report.runs import read_some_runs
from nino.report.schedule_plot import schedule_figure
from nino.report.spikes_plot import spikes_figure
from nino.specs import ReportSpec


def write_figures(
    results: Path, spec: ReportSpec, graphs: Mapping[str, NeuralGraph] | None = None, folder: Path | None = None
) -> list[Path]:
    """Read a run's logs and draw every figure of `figure_names`.

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
    paths: list[Path] = []

    def keep(name: str, figure: Figure, *sentences: str) -> None:
        paths.extend(save(figure, folder / name))
        paths.append(write_caption(folder, name, sentences))

    with styled():
        for task in spec.tasks:
            remarks = spec.remarks(task.id)
            keep(f"curves-{task.id}", curves_figure(runs, task), curves_sentence(runs, task.id), *remarks)
            keep(f"worth-{task.id}", worth_figure(runs, task), worth_sentence(runs, task), *remarks)
            spikes = [spikes_sentence(runs, method, task.id) for method in spec.nowcasting(task.id)]
            spikes += filter(None, (losses_sentence(runs, method, task.id) for method in spec.nowcasting(task.id)))
            keep(f"spikes-{task.id}", spikes_figure(runs, task), *spikes, *remarks)
            jumps = [jumps_sentence(runs, method, task) for method in spec.nowcasting(task.id)]
            keep(f"jumps-{task.id}", jumps_figure(runs, task), *jumps, *remarks)
            if graphs and task.id in graphs:
                sentence = graph_sentence(graphs[task.id])
                keep(f"graph-adjacency-{task.id}", adjacency_figure(graphs[task.id]), sentence, *remarks)
                keep(f"graph-layers-{task.id}", layers_figure(graphs[task.id]), sentence, *remarks)
        shown = profile(runs, spec.realizable)
        keep("profile", profile_figure(runs, shown), profile_sentence(runs, shown), *spec.remarks())
        keep("schedule", schedule_figure(spec))
    return paths
