"""The examples run as a newcomer runs them, in small."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import matplotlib
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def _run(name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib.use("Agg")
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


@pytest.mark.shared
def test_digits(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    out, ckpt = tmp_path / "digits.png", str(shared / "pretrained" / "nino_no_posw.pt")
    arguments = ["--ckpt", ckpt, "--steps", "60", "--period", "20", "--seeds", "1", "--target", "20", "--out", str(out)]
    _run("digits.py", arguments, monkeypatch)
    adam, nino, wrote = capsys.readouterr().out.splitlines()
    assert adam.startswith("Adam: 20 % first met in steps [") and nino.startswith("Adam with NiNo: ")
    assert wrote == f"wrote {out}" and out.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.shared
def test_text(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    text, out, ckpt = tmp_path / "my.txt", tmp_path / "text.png", str(shared / "pretrained" / "nino_no_posw.pt")
    text.write_text("All work and no play makes Jack a dull boy.\n" * 100)
    sizes = ["--layers", "1", "--width", "16", "--steps", "20", "--period", "10", "--every", "10"]
    _run("text.py", [str(text), "--ckpt", ckpt, *sizes, "--out", str(out)], monkeypatch)
    adamw, nino, _ = capsys.readouterr().out.splitlines()
    assert "nats a byte at the end" in adamw and nino.startswith("AdamW with NiNo: ") and out.is_file()
    with pytest.raises(SystemExit):
        (tmp_path / "short.txt").write_text("too short")
        _run("text.py", [str(tmp_path / "short.txt"), "--ckpt", ckpt], monkeypatch)
    assert "too few to train on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["digits.py", "--ckpt", "gone.pt"], "no file gone.pt"),
        (["text.py", "my.txt", "--ckpt", "gone.pt"], "no file gone.pt"),
        (["text.py", "gone.txt"], "gone.txt: no such file"),
    ],
)
def test_mistakes_end_in_one_line(
    arguments: list[str], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from nino import nowcasters

    if "--ckpt" not in arguments:
        monkeypatch.setattr(nowcasters, "load_nowcaster", lambda name: None)
    with pytest.raises(SystemExit) as ended:
        _run(arguments[0], arguments[1:], monkeypatch)
    assert ended.value.code == 2 and says in capsys.readouterr().err.splitlines()[-1]
