"""The figure of how nowcasts lie over the parameters, of runs with a record and of runs without."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from nino.evaluate.run_folder import JUMP_COLUMNS, QUANTILES, write_table
from nino.report.jumps_by_tensor import jumps_figure, jumps_sentence, spread
from nino.report.runs import CorruptRunError, Key, Runs, read_runs

from .conftest import hit_runs

TENSORS = {"conv.weight": ("conv", 90), "conv.bias": ("bias", 10)}


def rows(far: float, tensors: dict[str, tuple[str, int]] = TENSORS) -> list[dict[str, object]]:
    """Two nowcasts; elements of the first tensor jump ``far`` movements at the median, each next one half as far."""
    found = []
    for step, k in ((100, 40), (200, 1)):
        for i, (name, (kind, elements)) in enumerate(tensors.items()):
            size = far / 2**i * k / 40
            row = {"step": step, "k": k, "tensor": name, "kind": kind, "elements": elements, "movement": 1.0}
            spread = dict(zip(QUANTILES, (0.1, 0.5, 1.0, 2.0, 4.0), strict=True)) | {"largest": 8.0}
            found.append(row | {"change": size} | {name: size * factor for name, factor in spread.items()})
    return found


@pytest.fixture
def kept(tmp_path: Path) -> Runs:
    runs = hit_runs(tmp_path, {"base": [400, 400], "linear": [300, 300], "nino": [200, 200]})
    for seed, far in ((1000, 4.0), (2000, 8.0)):
        write_table(Key("digits-8", "nino", seed).folder(tmp_path) / "jumps.csv", rows(far), JUMP_COLUMNS)
    write_table(Key("digits-8", "linear", 1000).folder(tmp_path) / "jumps.csv", [], JUMP_COLUMNS)
    return read_runs(tmp_path, runs.spec)


def test_first_and_last_nowcast_are_means_over_seeds(kept: Runs) -> None:
    table = spread(kept, kept.spec.tasks[0], "nino")
    assert list(table.index) == [(when, name) for when in ("first", "last") for name in TENSORS]
    assert table.q50.tolist() == pytest.approx([6.0, 3.0, 6.0 / 40, 3.0 / 40])
    assert table.q95.tolist() == pytest.approx([24.0, 12.0, 24.0 / 40, 12.0 / 40])
    assert table.k.tolist() == [40, 40, 1, 1]


def test_many_tensors_are_drawn_by_kind_weighted_by_elements(kept: Runs, tmp_path: Path) -> None:
    many = {f"{i}.weight": ("linear" if i else "conv", 10 + i) for i in range(20)}
    for seed in (1000, 2000):
        write_table(Key("digits-8", "nino", seed).folder(tmp_path) / "jumps.csv", rows(8.0, many), JUMP_COLUMNS)
    table = spread(read_runs(tmp_path, kept.spec), kept.spec.tasks[0], "nino")
    expected = sum((10 + i) * 8.0 / 2**i for i in range(1, 20)) / sum(10 + i for i in range(1, 20))
    assert table.loc["first"].q50.to_dict() == pytest.approx({"conv": 8.0, "linear": expected})


def test_the_figure_shows_methods_with_a_record(kept: Runs) -> None:
    figure = jumps_figure(kept, kept.spec.tasks[0])
    figure.canvas.draw()
    assert [axes.get_title() for axes in figure.axes if axes.get_visible()] == ["NiNo"]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == list(TENSORS)
    first = next(item for item in figure.axes[0].get_lines() if item.get_label() == "first nowcast")
    assert first.get_xdata().tolist() == pytest.approx([6.0, 3.0])
    said = jumps_sentence(kept, "nino", kept.spec.tasks[0])
    assert "(k = 40) the median element of conv.weight jumped by 6 times" in said
    assert "that of conv.bias by 3; 5 % of the elements of conv.weight jumped by 24 or more" in said


def test_runs_without_a_record_are_said_to_have_none(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400], "nino": [200]})
    assert runs.jumps == {}
    figure = jumps_figure(runs, runs.spec.tasks[0])
    figure.canvas.draw()
    assert figure.axes[0].texts[0].get_text().startswith("10 nowcasts were made,\nof none is known")
    assert "kept no record" in jumps_sentence(runs, "nino", runs.spec.tasks[0])


def test_a_damaged_record_is_refused(kept: Runs, tmp_path: Path) -> None:
    path = Key("digits-8", "nino", 1000).folder(tmp_path) / "jumps.csv"
    shutil.copy(path, tmp_path / "whole")
    text = (tmp_path / "whole").read_text()
    for old, new in (("movement", "mvmt"), ("100,40,", "100,many,")):
        assert old in text
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(CorruptRunError, match=r"jumps\.csv"):
            read_runs(tmp_path, kept.spec)


def test_why_there_is_nothing_to_show_is_said_as_it_is(kept: Runs) -> None:
    """A method without a run, nowcasts that changed nothing, and tensors that had not moved before one of them."""
    task, key = kept.spec.tasks[0], Key("digits-8", "nino", 1000)
    table = kept.jumps[key]
    unmoved = table.assign(q50=table.q50.mask(table.step == table.step.min()))
    for changed, said in (
        (table.assign(change=0.0), "its nowcasts changed nothing"),
        (unmoved, "nothing had moved before its first or last nowcast"),
    ):
        assert said in jumps_sentence(replace(kept, jumps={key: changed}), "nino", task)
    assert jumps_sentence(replace(kept, logs={}, nowcasts={}), "nino", task) == "digits-8: NiNo: there is no run."
