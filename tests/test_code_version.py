from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nino.code_version import PACKAGE, STAGES, stage_files, stage_version

ROOT = PACKAGE.parent
Edit = Callable[[str, str, str], set[str]]


def files(stage: str, package: Path = PACKAGE) -> set[str]:
    return {path.relative_to(package).as_posix() for path in stage_files(stage, package)}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PACKAGE, tmp_path / "nino", ignore=shutil.ignore_patterns("__pycache__")))


@pytest.fixture
def changed_by(package: Path) -> Edit:
    """Which stages have another version with a text of a file replaced."""
    before = {stage: stage_version(stage, package) for stage in STAGES}
    assert before == {stage: stage_version(stage) for stage in STAGES}, "where the package lies does not matter"

    def changed(file: str, old: str, new: str) -> set[str]:
        path = package / file
        text = path.read_text()
        assert old in text, f"{file} has no {old!r}"
        path.write_text(text.replace(old, new, 1))
        stages = {stage for stage in STAGES if stage_version(stage, package) != before[stage]}
        path.write_text(text)
        return stages

    return changed


def test_a_stage_is_what_it_runs() -> None:
    assert {"tasks/task.py", "trajectories/collect.py", "training.py", "seeding.py"} <= files("collect")
    assert {"nowcasters/nino.py", "metatrain/loop.py", "trajectories/reader.py"} <= files("metatrain")
    assert "graphs/architectures/bert.py" in files("metatrain"), "imported by a function of another module"
    assert not {"trajectories/join.py", "trajectories/datasheet.py", "metatrain/loop.py"} & files("collect")
    for stage in STAGES:
        assert not {"report", "evaluate", "optim", "cli", "config"} & {file.partition("/")[0] for file in files(stage)}
        assert not {file for file in files(stage) if file.endswith("__init__.py")}, "they only export names"


@pytest.mark.parametrize("stage", STAGES)
def test_what_the_command_calls_is_where_a_stage_begins(stage: str) -> None:
    tree = ast.parse((PACKAGE / "cli" / "stages.py").read_text())
    command = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == stage)
    imports = [node for node in ast.walk(command) if isinstance(node, ast.ImportFrom)]
    called = {f"{node.module}.{alias.name}" for node in imports for alias in node.names}
    assert called and called <= set(STAGES[stage])


@pytest.mark.parametrize("stage", STAGES)
def test_imports_are_absolute_and_by_name(stage: str) -> None:
    """Others would not be followed."""
    for file in stage_files(stage):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0 and all(alias.name != "*" for alias in node.names), file


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        pytest.param("training.py", '"""', '"""In other words, ', id="docstring"),
        pytest.param("training.py", "\n\n\n", "\n# a comment\n\n\n", id="comment"),
        pytest.param("training.py", "(self, ", "(\n        self, ", id="formatting"),
        pytest.param("training.py", " -> None:", " -> object:", id="annotation"),
        pytest.param("training.py", "\nclass ", "\nif TYPE_CHECKING:\n    import nino.report\n\nclass ", id="typing"),
        pytest.param("tasks/task.py", 'raise ValueError(f"', 'raise ValueError(f"Oh: ', id="text of an error"),
        pytest.param("trajectories/collect.py", 'log.warning("', 'log.warning("so: ', id="logged line"),
        pytest.param("trajectories/join.py", "def ", "def another_", id="module that is not run"),
        pytest.param("tasks/__init__.py", "from ", "import nino.report\n\nfrom ", id="export that is not run"),
        pytest.param("report/table.py", "def ", "def another_", id="another room"),
    ],
)
def test_what_computes_nothing_changes_no_version(changed_by: Edit, file: str, old: str, new: str) -> None:
    assert changed_by(file, old, new) == set()


@pytest.mark.parametrize(
    ("file", "old", "new", "stages"),
    [
        pytest.param("seeding.py", "[:8]", "[:7]", {"collect", "metatrain"}, id="constant"),
        pytest.param("training.py", " + ", " - ", {"collect"}, id="operator"),
        pytest.param("training.py", "import torch\n", "import torch\n\nprint()\n", {"collect"}, id="statement"),
        pytest.param("training.py", "import torch\n", "import numpy as torch\n", {"collect"}, id="other library"),
        pytest.param(
            "graphs/lanczos.py", "import numpy as np", "import numpy as np\n\nX = 1", {"metatrain"}, id="deep"
        ),
        pytest.param("metatrain/loop.py", "import torch", "import torch\n\nX = 1", {"metatrain"}, id="loop"),
    ],
)
def test_what_computes_otherwise_is_another_version(
    changed_by: Edit, file: str, old: str, new: str, stages: set[str]
) -> None:
    assert changed_by(file, old, new) == stages


def test_a_renamed_module_computes_what_it_did(package: Path) -> None:
    before = {stage: stage_version(stage, package) for stage in STAGES}
    (package / "training.py").rename(package / "tasks" / "learning.py")
    for path in package.rglob("*.py"):
        text = path.read_text()
        path.write_text(text.replace("from nino.training import", "from nino.tasks.learning import"))
    assert {stage: stage_version(stage, package) for stage in STAGES} == before
    assert "tasks/learning.py" in files("collect", package)


CANNED = "code 4934a4f829b22cf1cc3f8e61188face7b78da9437709101c971ad7ec977e2f1a"


def made_of(folder: Path, monkeypatch: pytest.MonkeyPatch, **texts: str) -> str:
    """The version of a stage that begins with ``run`` in ``main.py``, the modules given by name."""
    monkeypatch.setattr("nino.code_version.STAGES", {"stage": ("nino.main.run",)})
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, text in {"__init__": "", **texts}.items():
        (folder / f"{name}.py").write_text(text)
    return stage_version("stage", folder).splitlines()[-1]


def test_modules_that_change_places_are_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main = "from nino.{} import f\nfrom nino.{} import f as g\n\ndef run(): return f() - g()\n"
    others = {"a": "def f(): return 1\n", "b": "def f(): return 2\n"}
    one = made_of(tmp_path / "p", monkeypatch, main=main.format("a", "b"), **others)
    assert made_of(tmp_path / "p", monkeypatch, main=main.format("b", "a"), **others) != one


def test_another_name_of_the_same_module_is_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main = "from nino.a import {} as f\n\ndef run(): return f()\n"
    a = "def one(): return 1\ndef two(): return 2\n"
    assert len({made_of(tmp_path / "p", monkeypatch, main=main.format(name), a=a) for name in ("one", "two")}) == 2


def test_descriptions_of_a_field_are_words_and_its_type_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(kind: str, description: str) -> str:
        main = f"class run(Model):\n    x: {kind} = Field(1, description={description!r})\n"
        return made_of(tmp_path / "p", monkeypatch, main=main)

    assert version("int", "steps") == version("int", "number of steps") != version("float", "steps")


def test_versions_do_not_depend_on_the_python_that_made_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest is Python 3.11's; newer ones read the same code into trees with more fields, which are empty."""
    text = """
import math as m
from collections import *

class A(B, metaclass=C):
    x: int = 3
    y: list = []

@decorated
def run(a, /, b=1, *c, d=None, **e):
    async def inner(): await a
    lambda q=1: (yield)
    with a as b, c: del a[1:, ..., ::-2]
    try:
        x = [i for i in {**e} if i] or {1: 2j} or {b"x", 1e-300} or f"{a!r:>{b}} é {c=}" "more" u"\\u1e9e"
    except* (ValueError, OSError) as error: raise error from None
    else: global z; z: int = not -a ** ~b // 2 @ c
    finally: assert a < b <= c is not None, "why"
    for i, *j in a: continue
    else: return a.b[c](*d, **e)
    match a:
        case {"k": [1, *_], **rest} | A(x=None): pass
        case _ if (n := 1): x += n
"""
    assert made_of(tmp_path / "p", monkeypatch, main=text) == CANNED
    for kind in (ast.FunctionDef, ast.ClassDef, ast.Call):  # as Python 3.12 adds `type_params`
        monkeypatch.setattr(kind, "_fields", (*kind._fields, "later"))
        monkeypatch.setattr(kind, "later", [], raising=False)
    assert made_of(tmp_path / "p", monkeypatch, main=text + "\n") == CANNED


def test_no_torch_is_needed() -> None:
    code = "import sys, nino.code_version as c; [c.stage_version(s) for s in c.STAGES]; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "False", done.stderr
