from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib
import pytest

from nino.drawing import COLUMN, legend_below, looks, new_figure, save, styled
from nino.specs import MethodSpec, ReportSpec


def draw(folder: Path) -> list[bytes]:
    with styled():
        figure = new_figure()
        axes = figure.add_subplot()
        axes.plot([1, 2, 3], [3, 1, 2], label="a")
        axes.legend()
        return [path.read_bytes() for path in save(figure, folder / "some.name")]


def test_same_figure_same_bytes(tmp_path: Path) -> None:
    first = draw(tmp_path / "a")
    assert first == draw(tmp_path / "b")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["some.name.png", "some.name.svg"]
    assert b"<dc:date>" not in first[0] and first[1].startswith(b"\x89PNG")


def test_style_does_not_leak() -> None:
    before = dict(matplotlib.rcParams)
    with styled():
        assert matplotlib.rcParams["svg.hashsalt"] == "nino"
        with pytest.raises(RuntimeError), styled():
            raise RuntimeError
    assert dict(matplotlib.rcParams) == before


def test_methods_can_be_told_apart(spec: ReportSpec) -> None:
    more = tuple(MethodSpec(f"mine-{i}", "mine.py:Mine") for i in range(10))
    with styled():
        found, many = looks(spec), looks(replace(spec, methods=(*spec.methods, *more)))
    assert set(found) == {method.name for method in spec.methods}
    for each in (found, many):
        assert len({(look.colour, look.dashes) for look in each.values()}) == len(each)
    assert not many["mine-9"].dashes and many["mine-0"].dashes
    assert found["base"].colour == "#000000"
    assert all(look.control == (name in spec.controls) for name, look in found.items())


def test_the_paper_s_methods_have_the_same_colours_in_every_run(spec: ReportSpec) -> None:
    fewer = replace(spec, methods=tuple(method for method in spec.methods if method.name != "wnn+"))
    more = replace(spec, methods=(*spec.methods, MethodSpec("mine", "mine.py:Mine")))
    with styled():
        whole, without, own = looks(spec), looks(fewer), looks(more)
    assert whole["nino"].colour == without["nino"].colour == own["nino"].colour == "#D55E00"
    assert own["wnn+"].colour == whole["wnn+"].colour
    assert own["mine"].colour not in {look.colour for look in whole.values()}


@pytest.mark.parametrize("length", [4, 30, 60])
def test_a_legend_below_takes_as_many_columns_as_fit(length) -> None:
    with styled():
        figure = new_figure(COLUMN)
        lines = [figure.subplots().plot([0, 1], [0, i])[0] for i in range(4)]
        legend_below(figure, lines, [f"{i}" * length for i in range(4)])
        (legend,) = figure.legends
        assert legend._ncols == {4: 4, 30: 1, 60: 1}[length]
        assert length == 60 or legend.get_window_extent().width <= figure.bbox.width
