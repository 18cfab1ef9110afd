"""Running the command in this process, in a folder of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from nino.cli import app, main

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "workflow" / "tiny.yaml"


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Nino = Callable[..., Ended]


@pytest.fixture
def nino(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nino:
    """Run ``nino`` with these arguments."""

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr("sys.argv", ["nino", *map(str, arguments)])
        # the program sets logging up for its whole process, which here is the tests'
        monkeypatch.setattr(app.logging, "basicConfig", lambda **_: None)
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        code = ended.value.code
        return Ended(code if isinstance(code, int) else 0 if code is None else 1, said.out, said.err)

    return run


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the base config and the tiny overlay."""
    shutil.copy(ROOT / "config.yaml", tmp_path)
    shutil.copy(TINY, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path
