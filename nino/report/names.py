"""Names of everything that a report consists of: what draws it and what asks for its files agree on them here."""

from __future__ import annotations

from nino.report.spec import ReportSpec

TABLES = ("table1", "table2", "summary", "fixed_steps", "nowcasts", "timing")
TABLE_FORMATS = ("csv", "md", "tex", "html")
TASK_FIGURES = ("curves", "worth", "nowcasts")
GRAPH_FIGURES = ("graph-adjacency", "graph-layers")
RUN_FIGURES = ("profile", "schedule")
FIGURE_FORMATS = ("svg", "png")


def figure_names(spec: ReportSpec, graphs: bool = True) -> list[str]:
    """Stems of all figures of a report, each written as ``.svg`` and ``.png`` with a caption.

    Args:
        spec: the report.
        graphs: whether pictures of the tasks' neural graphs belong to it.

    Returns:
        Names such as ``curves-digits-8``.
    """
    kinds = TASK_FIGURES + (GRAPH_FIGURES if graphs else ())
    return [f"{kind}-{task.id}" for task in spec.tasks for kind in kinds] + list(RUN_FIGURES)
