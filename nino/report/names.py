"""Names of everything that a report consists of: what draws it and what asks for its files agree on them here."""

from __future__ import annotations

from dataclasses import dataclass

from nino.report.spec import ReportSpec

TABLES = ("table1", "table2", "summary", "fixed_steps", "nowcasts", "timing", "origins")
TABLE_FORMATS = ("csv", "md", "tex", "html", "rst")
TASK_FIGURES = ("curves", "worth", "spikes", "jumps")
GRAPH_FIGURES = ("graph-adjacency", "graph-layers")
RUN_FIGURES = ("profile", "schedule")
FIGURE_FORMATS = ("svg", "png")


@dataclass(frozen=True)
class FigureName:
    """One figure.

    Args:
        kind: what it shows, and the name of its caption in ``workflow/report/``.
        task: id of its task; empty for a figure over all tasks.
    """

    kind: str
    task: str = ""

    @property
    def name(self) -> str:
        """Stem of its files.

        >>> FigureName("curves", "digits-8").name
        'curves-digits-8'
        """
        return f"{self.kind}-{self.task}" if self.task else self.kind


def figures(spec: ReportSpec, graphs: bool = True) -> list[FigureName]:
    """All figures of a report.

    Args:
        spec: the report.
        graphs: whether pictures of the tasks' neural graphs belong to it.
    """
    kinds = TASK_FIGURES + (GRAPH_FIGURES if graphs else ())
    return [FigureName(kind, task.id) for task in spec.tasks for kind in kinds] + [FigureName(k) for k in RUN_FIGURES]


def figure_names(spec: ReportSpec, graphs: bool = True) -> list[str]:
    """Stems of all figures of a report, each written as ``.svg`` and ``.png`` with a caption.

    Args:
        spec: the report.
        graphs: whether pictures of the tasks' neural graphs belong to it.
    """
    return [figure.name for figure in figures(spec, graphs)]
