"""What all figures share: the style, colours of methods, and files that are the same bytes every time.

Figures are built without ``pyplot``, whose global state would carry over from one to the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from nino.files import replacing
from nino.specs import ReportSpec

COLUMN = 3.4  # width of a paper's column, inches
PAGE = 7.0  # width of its page, inches
# Told apart by colour-blind readers (Okabe and Ito, 2002), and a dark grey.
BLUE = "#0072B2"
RED = "#D55E00"
GREEN = "#009E73"
PINK = "#CC79A7"
ORANGE = "#E69F00"
DARK = "#444444"
CONTROLS = {  # colour and dashes by kind of nowcaster: a control looks the same in every report
    "identity": ("#777777", (1, 1)),
    "random": (PINK, (3, 1.2)),
    "linear": (ORANGE, (6, 1.5)),
    "oracle": (GREEN, (5, 1.2, 1, 1.2)),
}
REUSED_DASHES: tuple[tuple[float, ...], ...] = ((), (4, 1), (1.5, 0.8), (4, 0.8, 1, 0.8))  # dashes of reused colours
BASELINE_COLOUR = "#000000"
PAPER_METHODS = ("nino", "wnn+", "wnn", "l2o")
"""The paper's methods, in the order of the colours that they have in every run."""


@dataclass(frozen=True)
class Look:
    """How a method is drawn.

    Args:
        colour: any matplotlib colour.
        dashes: on-off lengths in points; empty for a solid line.
        width: line width in points.
        control: whether it is a control.
    """

    colour: str
    dashes: tuple[float, ...] = ()
    width: float = 1.3
    control: bool = False

    def line(self, **changes: Any) -> dict[str, Any]:
        """Keyword arguments of ``Axes.plot``."""
        style = (0, self.dashes) if self.dashes else "-"
        return {"color": self.colour, "linestyle": style, "linewidth": self.width, **changes}


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the project's style inside the block; settings are as before after it."""
    with as_file(files("nino").joinpath("style.mplstyle")) as path, matplotlib.rc_context(fname=path):
        yield


def new_figure(width: float = COLUMN, height: float = 2.6) -> Figure:
    """An empty figure, not attached to any window.

    Args:
        width: inches.
        height: inches.
    """
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def grid_shape(panels: int) -> tuple[int, int]:
    """Rows and columns of a grid for a number of panels, three in a row at most.

    >>> grid_shape(1), grid_shape(3), grid_shape(7), grid_shape(0)
    ((1, 1), (1, 3), (3, 3), (1, 1))
    """
    columns = min(3, max(1, panels))
    return -(-max(1, panels) // columns), columns


def panel_grid(figure: Figure | SubFigure, shape: tuple[int, int], used: int, xlabel: str) -> NDArray[Any]:
    """Panels with shared axes, row by row; unused ones are hidden, and the last one of each column has a label.

    Args:
        figure: to draw in.
        shape: rows and columns.
        used: how many panels are filled; if none is, the first one stays visible for a remark.
        xlabel: of the horizontal axis.
    """
    rows, columns = shape
    panels: NDArray[Any] = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes in panels[max(1, used) :]:
        axes.set_visible(False)
    for axes in panels[max(used - columns, 0) : used]:
        axes.set_xlabel(xlabel)
        axes.tick_params(labelbottom=True)
    return panels


def legend_below(
    figure: Figure | SubFigure, handles: Sequence[Artist], labels: Sequence[str], most: int = 4, **style: Any
) -> None:
    """One legend below all axes, in as many columns as the figure is wide enough for.

    Args:
        figure: with a constrained layout.
        handles: what stands for each label.
        labels: their texts.
        most: columns at most.
        style: further arguments of ``Figure.legend``.
    """
    for columns in range(max(1, min(most, len(labels))), 0, -1):
        legend = figure.legend(handles, labels, loc="outside lower center", ncols=columns, **style)
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()


def looks(spec: ReportSpec) -> dict[str, Look]:
    """A look for every method: the baseline black, contenders in solid colours, controls dashed.

    The paper's methods have the same colours in every run. Of the others, the last one is usually what a config is
    about, so it gets the first free colour; when colours run out, they are reused with other dashes.
    """
    colours = [f"#{each.removeprefix('#')}" for each in matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]]
    chosen = {spec.baseline: Look(BASELINE_COLOUR)}
    chosen |= {m: Look(colours[i % len(colours)]) for i, m in enumerate(PAPER_METHODS) if m in spec.contenders}
    left = [colour for colour in colours if colour not in {look.colour for look in chosen.values()}] or colours
    others = [method for method in reversed(spec.contenders) if method not in chosen]
    for i, method in enumerate(others):
        chosen[method] = Look(left[i % len(left)], REUSED_DASHES[i // len(left) % len(REUSED_DASHES)])
    kinds = {method.name: method.nowcaster for method in spec.methods}
    for method in spec.controls:
        colour, dashes = CONTROLS[kinds[method]]
        chosen[method] = Look(colour, dashes, 1.0, control=True)
    return chosen


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as SVG and PNG, without dates or versions, so that the same figure is the same bytes.

    Args:
        figure: the figure.
        stem: path without extension.

    Returns:
        The two files.
    """
    svg, png = (stem.with_name(f"{stem.name}.{extension}") for extension in ("svg", "png"))
    with replacing(svg) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})
    figure.set_layout_engine("none")  # where things stand is worked out once, which takes longer than to draw them
    figure.set_dpi(matplotlib.rcParams["savefig.dpi"])
    with replacing(png) as temporary:
        FigureCanvasAgg(figure).print_png(temporary, metadata={"Software": None}, pil_kwargs={"optimize": True})
    return [svg, png]
