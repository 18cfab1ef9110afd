from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib
from torch import nn

from nino.graphs import neural_graph
from nino.report.figures import write_figures
from nino.specs import ReportSpec
from nino.specs.report import figures


def test_every_named_figure_is_written_with_a_caption(results: Path, spec: ReportSpec) -> None:
    one = replace(spec, tasks=spec.tasks[:1])
    before = dict(matplotlib.rcParams)
    paths = write_figures(results, one, {"digits-8": neural_graph(nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2)))})
    expected = {
        results / "figures" / part
        for name in (figure.name for figure in figures(one))
        for part in (f"{name}.svg", f"{name}.png", f"captions/{name}.rst")
    }
    assert set(paths) == expected and all(path.exists() for path in paths)
    assert dict(matplotlib.rcParams) == before
    assert "NiNo at step" in (results / "figures" / "captions" / "curves-digits-8.rst").read_text()


def test_without_graphs_there_are_no_pictures_of_them(spec: ReportSpec) -> None:
    assert {figure.name for figure in {*figures(spec)} - {*figures(spec, graphs=False)}} == {
        f"graph-{kind}-{task.id}" for kind in ("adjacency", "layers") for task in spec.tasks
    }
