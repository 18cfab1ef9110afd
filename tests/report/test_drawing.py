from __future__ import annotations

from pathlib import Path

import matplotlib
import pytest

from nino.report.drawing import looks, new_figure, save, styled
from nino.report.spec import ReportSpec


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
    with styled():
        found = looks(spec)
    assert set(found) == {method.name for method in spec.methods}
    assert len({(look.colour, look.dashes) for look in found.values()}) == len(found)
    assert found["base"].colour == "#000000"
    assert all(look.control == (name in spec.controls) for name, look in found.items())
