"""The tutorial's code, block by block, as a reader would run it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nino.graphs import registry
from nino.tasks.torchvision_ops import declare_missing_operators

TUTORIAL = Path(__file__).parents[2] / "docs" / "own-loop.md"


@pytest.mark.filterwarnings("ignore:.*pin_memory.*:UserWarning")
def test_the_tutorial_runs_and_says_what_it_claims(tmp_path, monkeypatch, capsys):
    pytest.importorskip("sklearn")
    declare_missing_operators()
    pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_BY_CLASS", dict(registry._BY_CLASS))
    text = TUTORIAL.read_text(encoding="utf-8")
    blocks = [(m.start(), m.group(1)) for m in re.finditer(r"```python\n(.*?)```", text, re.DOTALL)]
    names: dict[str, object] = {"__name__": "tutorial"}
    said = []
    for start, code in blocks:
        line = text[:start].count("\n") + 1
        exec(compile("\n" * line + code, str(TUTORIAL), "exec"), names)
        said.append(capsys.readouterr().out)
    plain, recorded, graph, _, schedule, decaying, accepted, stays, hook, resumed, trainer, offline = said
    assert float(re.search(r"accuracy ([\d.]+)", plain)[1]) > 0.85 and "'kept': 6" in plain
    assert "100.0% of 2410 parameters on edges" in recorded and "verified: 1 renumberings" in recorded
    assert "all on edges: True" in graph
    assert "[40, 33, 26, 21, 16, 11, 8, 5, 3, 1]" in schedule and "next k: 4" in schedule
    assert decaying.strip() == "[5, 4, 4, 3, 2, 2, 1, 1, 1, 1]" and names["decaying"].schedule.horizons[:2] == (5, 4)
    assert accepted.count("nowcast k=") == 6
    assert re.search(r"moved 0 of the first 20 rows, (19|20) of the others", stays)
    assert hook.count("at step 20") == 5 and "nowcast/norm" in hook
    assert "LineFit" in resumed and names["resumed"].steps == 300
    assert trainer.count("nowcast_k") == 4  # each printed by the Trainer, then listed
    assert "checkpoint-20" in offline and "(4, 8, 12, 16, 20)" in offline


def test_links_lead_to_headings():
    text = TUTORIAL.read_text(encoding="utf-8")
    headings = {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^## (.*)$", text, re.M)}
    links = re.findall(r"\]\(#([^)]*)\)", text)
    assert links and set(links) <= headings
