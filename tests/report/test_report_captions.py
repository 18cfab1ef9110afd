"""Captions of ``snakemake --report``: Jinja over the config, computed sentences included, valid reStructuredText."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from jinja2 import Environment, StrictUndefined
from torch import nn

from nino.graphs import neural_graph
from nino.report.build import write_caption, write_tables
from nino.report.figures import write_figures
from nino.specs import ReportSpec
from nino.specs import report as names
from nino.specs.studies import STUDIES

FOLDER = Path(__file__).resolve().parents[2] / "nino" / "workflow" / "report"
FIGURES = {*names.TASK_FIGURES, *names.GRAPH_FIGURES, *names.RUN_FIGURES}
CAPTIONS = sorted({*names.TABLES, *FIGURES, "workflow", "datasheet", "card", "study", *STUDIES})
COMPUTED = {
    "datasheet": '<span class="pre">digits-8</span>',
    "card": '<tt class="docutils literal">wnn+</tt>',
    "table2": "fewer steps than Adam",
    "summary": "fewer steps than Adam",
    "workflow": "fewer steps than Adam",
    "fixed_steps": "are worth",
    "nowcasts": "nowcasts of NiNo lowered",
    "curves": "NiNo at step",
    "worth": "are worth",
    "spikes": "nowcasts of NiNo lowered",
    "jumps": "kept no record of how their nowcasts lie",
    "profile": "is the fastest of a seed",
    "graph-adjacency": "nodes in",
    "graph-layers": "nodes in",
    "permutation": "Found by permutation.",
    "overhead": "Found by overhead.",
    "study": "Found by permutation.",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, complete: Path, spec: ReportSpec) -> Path:
    """A folder that looks like the repository's root to the captions."""
    root = tmp_path_factory.mktemp("root")
    (root / "results").mkdir()
    graph = neural_graph(nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2)))
    write_tables(complete, spec, root / "results" / "fake" / "tables")
    write_figures(complete, spec, {task.id: graph for task in spec.tasks}, root / "results" / "fake" / "figures")
    for study in STUDIES:
        write_caption(root / "results" / "fake" / "tables", study, (f"Found by {study}.",))
    return root


def test_every_artifact_has_a_caption_and_every_caption_an_artifact() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.rst")) == CAPTIONS


@pytest.mark.parametrize("name", CAPTIONS)
def test_caption_renders_with_the_computed_sentences(
    root: Path, spec: ReportSpec, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    docutils = pytest.importorskip("docutils.core")
    monkeypatch.chdir(root)
    config = {
        "run": "fake",
        "metatrain": {"tasks": list(spec.trained_on)},
        "evaluate": {
            "tasks": [task.id for task in spec.tasks],
            "seeds": list(spec.seeds),
            "methods": {method.name: {} for method in spec.methods},
            "schedule": spec.schedule.to_dict(),
        },
    }
    # Snakemake's own environment, but strict: a key that the config does not have is an error
    environment = Environment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    text = environment.from_string((FOLDER / f"{name}.rst").read_text()).render(
        snakemake=SimpleNamespace(
            config=config,
            wildcards=SimpleNamespace(task="digits-8", nowcaster="wnn+"),
            params=SimpleNamespace(study="permutation"),
        )
    )
    body = docutils.publish_parts(text, writer="html", settings_overrides={"report_level": 1, "halt_level": 2})["body"]
    assert "system-message" not in body
    assert COMPUTED.get(name, "") in " ".join(body.split())
