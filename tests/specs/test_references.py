from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pytest

from nino.files import sha256
from nino.specs import DataSpec, EvaluationUnit, Reference, Spec, problems, references
from nino.specs.outside import Outside, Use, UserOptions, files, packages, records, uses
from nino.specs.schema import schema
from nino.specs.syntax import module_file
from nino.specs.values import CONFIG, Chosen

SOURCE = """
raise SystemExit("a check ran the file")

from functools import partial
from textwrap import dedent as renamed

def make(data, width, depth=2, *, bias=True): ...
def anything(data, **options): ...
def short(): ...

class Base:
    LIMIT = 3
    def __init__(self, data, size): ...

class Derived(Base):
    pass

try:
    import json
except ImportError:
    json = None
half = partial(make, width=2)

if False:
    def either(data): ...
else:
    def either(data, width): ...
for number in range(3):
    def looped(data): ...
def once(data): ...
if True:
    once = make
def last(data): ...
def last(data, width): ...
match number:
    case 2:
        (walrus := make)
def shared():
    global declared

class Newton:
    def __init__(self, params, lr): ...
    @no_grad()
    def step(self, closure): ...
class Calmer(Newton):
    def step(self, closure=None): ...
class Faster(Newton): ...
class Wrapped(Newton):
    @wraps(len)
    def step(self, closure): ...
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a file that must not be run and an installed package."""
    (tmp_path / "own.py").write_text(SOURCE, encoding="utf-8")
    package = tmp_path / "site" / "labmodels"
    (package / "nets").mkdir(parents=True)
    (package / "__init__.py").write_text("from .nets import wide\nraise SystemExit\n", encoding="utf-8")
    (package / "nets" / "__init__.py").write_text("from ..core import deep as wide\n", encoding="utf-8")
    (package / "core.py").write_text("def deep(data, layers=3): return ('deep', data, layers)\n", encoding="utf-8")
    (package / "nothing.py").write_text("import json\n", encoding="utf-8")
    (package / "lazy.py").write_text("def __getattr__(name): return len\n", encoding="utf-8")
    info = tmp_path / "site" / "labmodels-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: labmodels\nVersion: 1.5\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[nino.models]\nlab-deep = labmodels.core:deep\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.chdir(tmp_path)
    references.registered.cache_clear()
    yield tmp_path
    references.registered.cache_clear()
    for name in [name for name in sys.modules if name.startswith(("labmodels", "nino_own_"))]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        ("own.py:make", {"width": 3, "depth": 1, "bias": False}, []),
        ("own.py:make", {"width": 3, "dept": 1}, ["make takes no argument 'dept'; did you mean 'depth'?"]),
        ("own.py:make", {"depth": 1}, ["make needs width; set it in options"]),
        ("own.py:make", {"width": 3, "data": 1}, ["make takes no argument 'data'"]),
        ("own.py:mke", {}, ["own.py defines no mke; did you mean 'make'?"]),
        ("own.py:anything", {"x": 1}, []),
        ("own.py:short", {}, ["short takes 0 arguments by position; it is called with data"]),
        ("own.py:Derived", {"size": 1}, []),
        ("own.py:Derived", {"sise": 1}, ["did you mean 'size'?", "needs size"]),
        ("own.py:half", {"x": 1}, []),
        ("own.py:json", {}, []),
        ("own.py:renamed", {"x": 1}, ["dedent"]),
        ("gone.py:make", {}, ["there is no file gone.py"]),
        ("no_such_module:make", {}, ["there is no installed module no_such_module"]),
        ("labmodels.gone:make", {}, ["there is no installed module labmodels.gone"]),
        ("labmodels:wide", {"layers": 2}, []),
        ("labmodels:wide", {"layrs": 2}, ["takes no argument 'layrs'; did you mean 'layers'?"]),
        ("labmodels:wid", {}, ["labmodels defines no wid"]),
        ("labmodels.lazy:any", {"x": 1}, []),
        ("math:sqrt", {}, []),
        ("own.py:either", {"x": 1}, []),
        ("own.py:once", {"x": 1}, []),
        ("own.py:looped", {}, []),
        ("own.py:walrus", {}, []),
        ("own.py:declared", {}, []),
        ("own.py:last", {"width": 1}, []),
        ("own.py:last", {}, ["last needs width; set it in options"]),
        ("labmodels:deep", {}, ["labmodels defines no deep; allowed: wide"]),
        ("labmodels.nothing:make", {}, ["labmodels.nothing defines no make"]),
    ],
)
def test_problems_are_found_without_running_anything(
    folder: Path, text: str, options: dict[str, Any], says: list[str]
) -> None:
    reference = Reference.find(text, "model")
    assert reference is not None
    found = [*reference.problems(options, "model")]
    if says == ["dedent"]:  # of the standard library: dedent(text)
        assert found and "renamed takes no argument 'x'" in found[0]
        return
    assert len(found) == len(says) and all(part in sentence for part, sentence in zip(says, found, strict=True)), found
    assert "labmodels" not in sys.modules


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfdef make(data): ...\n",
        b"# coding: latin-1\ndef make(data): return '\xe4'\n",
        b"globals()['make'] = len\n",
    ],
)
def test_what_python_imports_is_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "own.py").write_bytes(content)
    reference = Reference(str(tmp_path / "own.py"), "make")
    assert [*reference.problems({}, "model")] == [] and callable(reference.load())


@pytest.mark.parametrize(
    "content",
    [b"def make(:", b"make = 1\0", b"\xe4 = 1", b"make = 1" + b"+1" * 5000],
    ids=["syntax", "zero", "latin", "deep"],
)
def test_what_python_does_not_import_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "own.py").write_bytes(content)
    (problem,) = Reference(str(tmp_path / "own.py"), "make").problems({}, "model")
    assert "own.py is no Python file (" in problem


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("own.py:Newton", "its step needs 'closure', and recipes call it without arguments"),
        ("own.py:Faster", "its step needs 'closure', and recipes call it without arguments"),
        ("torch.optim:LBFGS", "its step needs 'closure', and recipes call it without arguments"),
        ("own.py:Calmer", None),
        ("own.py:Wrapped", None),
        ("torch.optim:Adagrad", None),
    ],
)
def test_optimizers_whose_steps_need_arguments_are_refused(folder: Path, text: str, says: str | None) -> None:
    reference = Reference.parse(text)
    assert reference is not None
    assert [*reference.problems({}, "optimizer")] == ([says] if says else [])
    assert [*reference.problems({}, "model")] != [says]


def test_arguments_that_the_config_leaves_empty_are_missing(folder: Path) -> None:
    (folder / "own.py").write_text("def load(path): ...\ndef any(path=None): ...\n", encoding="utf-8")
    for name, path, says in (
        ("load", None, ["load needs path; set it beside options"]),
        ("load", "x", []),
        ("any", None, []),
    ):
        (use,) = uses(DataSpec, DataSpec(f"own.py:{name}", path=path))
        assert [*use.problems()] == [f"name (=own.py:{name}): {each}" for each in says]
    optimizer = Reference("own.py", "Decayed")
    (folder / "own.py").write_text(
        "class Decayed:\n    def __init__(self, params, weight_decay): ...\n", encoding="utf-8"
    )
    assert [*optimizer.problems({}, "optimizer")] == []
    assert [*optimizer.problems({}, "optimizer", offered=())] == ["Decayed needs weight_decay; set it beside options"]


def test_packages_are_found_whatever_their_modules_are_called(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in (("Lab-Tools", "labtools"), ("shared-b", "shared"), ("shared-a", "shared")):
        info = folder / "site" / f"{name.replace('-', '_')}-2.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.0\n", encoding="utf-8")
        (info / "top_level.txt").write_text(f"{module}\n", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(folder / "site")])  # those of this interpreter are many
    assert Reference("labtools.nets", "Node").package == "Lab-Tools 2.0"
    assert Reference("shared.nets", "Node").package == "shared-a 2.0, shared-b 2.0"
    assert Reference("json", "loads").package is None and Reference("nobody", "make").package is None


def test_a_module_is_found_without_importing_its_package(folder: Path) -> None:
    assert module_file("labmodels.core") == folder / "site/labmodels/core.py"
    assert module_file("labmodels.nets") == folder / "site/labmodels/nets/__init__.py"
    assert module_file("labmodels.core.deep") is None and module_file("") is None and module_file("sys") is None


def test_names_that_packages_register_are_references(folder: Path) -> None:
    found = Reference.find("lab-deep", "model")
    assert found == Reference("labmodels.core", "deep") and found.package == "labmodels 1.5"
    assert Reference.find("lab-deep", "metric") is None and Reference.find("convnet", "model") is None
    assert Reference("own.py", "make").package is None


def test_calling_passes_what_is_given_and_what_is_offered(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text("def make(data, seed=0, width=1): return data, seed, width\nvalue = 3\n", encoding="utf-8")
    make = Reference(str(file), "make")
    assert make.call("d", offered={"seed": 7, "other": 1}, width=2) == ("d", 7, 2)
    assert make.call("d", offered={"seed": 7}, seed=1) == ("d", 1, 1)
    with pytest.raises(ValueError, match=r"make: .*'depth'.*; its arguments are data, seed, width"):
        make.call("d", depth=1)
    with pytest.raises(ValueError, match="is int, no function and no class"):
        Reference(str(file), "value").call()
    file.write_text("import json\nunknown\ndef make(data): ...\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"own.py cannot be imported: NameError: name 'unknown' is not defined"):
        make.load()


def test_a_file_runs_once_for_each_content(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text("def one(): ...\ndef two(): ...\n", encoding="utf-8")
    one, two = Reference(str(file), "one").load(), Reference(str(file), "two").load()
    assert one.__globals__ is two.__globals__
    file.write_text("def one(): return 1\n", encoding="utf-8")
    assert Reference(str(file), "one").load()() == 1


@dataclass(frozen=True)
class Part(Spec):
    """A part.

    Args:
        name: what makes it [name].
        options: its arguments.
    """

    name: Annotated[str, Outside("model", ("convnet",), options="options", apart=("shared",))]
    options: Annotated[dict[str, Any], Chosen("name", {"convnet": dict[str, int]}, UserOptions)] = field(
        default_factory=dict
    )


@dataclass(frozen=True)
class Whole(Spec):
    """A whole.

    Args:
        first: a part.
        more: parts in order.
        named: parts by name.
        metric: that may be left out [name].
    """

    first: Part
    more: tuple[Part, ...] = ()
    named: dict[str, Part] = field(default_factory=dict)
    last: Part | None = None
    metric: Annotated[str, Outside("metric", ("accuracy",))] | None = None


VALUES = {
    "first": {"name": "own.py:make", "options": {"width": 2, "shared": 1}},
    "more": [{"name": "convnet"}, {"name": "lab-deep"}],
    "named": {"x": {"name": "own.py:anything"}},
    "last": {"name": "labmodels:wide"},
    "metric": "other.py:f1",
}


def test_one_walk_finds_all_references_in_specs_and_in_mappings(folder: Path) -> None:
    spec = Whole.from_dict(VALUES)
    found = [*uses(Whole, spec)]
    assert [*uses(Whole, VALUES)] == found
    assert [use.key for use in found] == ["first.name", "more[1].name", "named.x.name", "last.name", "metric"]
    assert found[0] == Use("first.name", "own.py:make", "model", Reference("own.py", "make"), {"width": 2})
    assert [*found[4].problems()] == [
        f"metric (=other.py:f1): there is no file other.py (relative paths start at {folder.name}/)"
    ]
    assert files(spec) == ["own.py", "other.py"] and packages(spec) == ["labmodels 1.5"]


def test_records_hold_the_bytes_of_files_and_the_versions_of_packages(folder: Path) -> None:
    spec = Whole(Part("own.py:make"), (Part("lab-deep"),))
    core = folder / "site/labmodels/core.py"
    assert records(spec) == {
        "first.name": {"path": "own.py", "sha256": sha256(Path("own.py"))},
        "more[0].name": {"path": "labmodels.core", "sha256": sha256(core), "package": "labmodels 1.5"},
    }
    with pytest.raises(FileNotFoundError, match=r"gone.py: no such file or module, for make"):
        records(Whole(Part("gone.py:make")))


def test_configs_allow_ours_registered_names_and_references_alone(folder: Path) -> None:
    schema.cache_clear()
    for name in ("convnet", "lab-deep", "own.py:make", "a.b:C"):
        assert problems(Part, {"name": name}, CONFIG) == []
    for name in ("convnt", "a.py:9", ":x", "a:b:"):
        (sentence,) = problems(Part, {"name": name}, CONFIG)
        assert "convnet, lab-deep" in sentence and "FILE.py:NAME, MODULE:NAME" in sentence, sentence
    assert "did you mean 'lab-deep'" in problems(Part, {"name": "lab-dep"}, CONFIG)[0]
    schema.cache_clear()


def test_specs_of_jobs_are_walked(folder: Path) -> None:
    values = {
        "task": {
            "id": "t",
            "data": {"name": "digits"},
            "model": {"name": "own.py:make", "options": {"width": 2}},
            "recipe": {"optimizer": "adam", "lr": 0.1, "steps": 2, "batch_size": 2},
            "target": {"metric": "accuracy", "value": 1.0},
            "evaluation": {"test_every": 1, "validation_every": 1},
        },
        "method": {"name": "m", "nowcaster": "own.py:anything", "options": {"period": 2, "decay": 1}},
        "schedule": {},
    }
    found = {use.key: use for use in uses(EvaluationUnit, EvaluationUnit.from_dict(values))}
    assert found.keys() == {"task.model.name", "method.nowcaster"}
    assert found["method.nowcaster"].options == {"decay": 1}  # the schedule's are no arguments of it
