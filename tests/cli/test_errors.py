"""What a user gets wrong ends in a line that says what to do, and in no traceback."""

from __future__ import annotations

import json
import urllib.error
from pathlib import Path
from typing import Any

import pytest

from nino.cli.messages import message

EVALUATE = ("evaluate", "--config", "tiny.yaml", "--task", "digits-2", "--seed", 1)
OWN = "from nino.nowcasters import Pointwise\n\nclass Own(Pointwise):\n    context = None\n"
UPDATE = "    def update(self, states, k, parameter):\n        return states[:, -1] * 0\n"


@pytest.fixture
def files(workplace: Path) -> Path:
    """The working directory, with files that are wrong in one way each."""
    written = {
        "name_error.py": f"{OWN}{UPDATE}\nlimit = no_such_name\n",
        "syntax_error.py": "class Own(:\n",
        "no_import.py": f"import no_such_module\n{OWN}{UPDATE}",
        "raises.py": f"{OWN}    def __init__(self):\n        {{}}['key']\n{UPDATE}",
        "abstract.py": OWN,
        "other.py": "class Own:\n    pass\n",
        "models.py": (
            "import torch\n\ndef net():\n    return torch.nn.Linear(2, 2)\n\ndef broken():\n    return net().no_such\n"
            "\ndef text():\n    return 'x'\n"
        ),
        "broken_models.py": "import torch\nundefined\n",
        "not_yaml.yaml": "evaluate: [1",
        "list.yaml": "- 1",
        "missing.yaml": "evaluate: {methods: {mine: {nowcaster: checkpoint, path: gone.pt}}, rows: [base, mine]}",
        "nan.yaml": "report: {confidence: .nan}",
        "spec.json": "{",
        "weights.pt": "no weights",
        "weights.safetensors": "no weights",
        "ckpt/step_1.pt": "no weights",
    }
    for name, text in written.items():
        (workplace / name).parent.mkdir(exist_ok=True)
        (workplace / name).write_text(text, encoding="utf-8")
    return workplace


WRONG: list[tuple[tuple[object, ...], str]] = [
    (("check", "name_error.py:Own"), "NameError: name 'no_such_name' is not defined (name_error.py:8)"),
    (("check", "syntax_error.py:Own"), "syntax_error.py"),
    (("check", "no_import.py:Own"), "ModuleNotFoundError: No module named 'no_such_module' (no_import.py:1)"),
    (("check", "raises.py:Own"), "raises.py:6: KeyError: 'key'"),
    (("check", "abstract.py:Own"), "does not define update"),
    (("check", "other.py:Own"), "is no nowcaster"),
    (("check", "gone.py:Own"), "there is no file gone.py"),
    (("check", "raises.py:Own", "--options", '{"decay": 1}'), "unexpected keyword argument 'decay'"),
    (("check", "linear", "--options", '{"decay": 1}'), "unexpected keyword argument 'decay'"),
    (("check", "weights.pt", "--options", '{"decay": 1}'), "a file of weights takes none"),
    (("check", "linear", "--options", "[1]"), "must be a JSON mapping"),
    (("check", "linear", "--options", '{"seed": NaN}'), "NaN is no finite number"),
    (("check", "weights.pt"), "weights.pt cannot be read"),
    (("check", "weights.safetensors"), "weights.safetensors is not a whole safetensors file"),
    (("check", "nino_no_pos"), "no known nowcaster of this name"),
    (("check",), "NAME: give either it or --config"),
    (("graph", "models"), "must be package.module:function"),
    (("graph", "models:nett"), "did you mean 'net'?"),
    (("graph", "no_models:net"), "there is no module no_models here"),
    (("graph", "models:broken"), "models.py:7: AttributeError: 'Linear' object has no attribute 'no_such'"),
    (("graph", "models:text"), "gave str, not a torch module"),
    (("graph", "broken_models:net"), "broken_models.py:2: NameError"),
    (("graph", "models:net", "--topology", "exactly"), "'exactly' is not one of"),
    (("step", "ckpt", "--nowcaster", "linear", "--update-scale", "nan"), "nan is no finite number"),
    (("step", "ckpt", "--nowcaster", "linear", "--power", "inf"), "inf is no finite number"),
    (("step", "ckpt", "--nowcaster", "linear", "--still", "on"), "'on' is not one of"),
    (("step", "ckpt", "--nowcaster", "gone.pt"), "no file gone.pt"),
    (("step", "ckpt", "--nowcaster", "linear", "--device", "gpu"), "--device"),
    (("step", "gone", "--nowcaster", "linear"), "gone is not a folder"),
    (("step", "ckpt", "--nowcaster", "linear", "--k", 1), "only 1 checkpoints"),
    (("merge", "gone.pt", "gone2.pt", "--nowcaster", "linear", "--out", "x.pt"), "nino: error: "),
    (("config", "validate", "--config", "missing.yaml"), "evaluate.methods.mine.path (='gone.pt'): no such file"),
    (("config", "validate", "--config", "nan.yaml"), "report.confidence (=NaN) must be a finite number"),
    (("config", "validate", "--config", "not_yaml.yaml"), "not_yaml.yaml: while parsing"),
    (("config", "validate", "--config", "list.yaml"), "list.yaml: holds a list"),
    (("plan", "gone.yaml"), "gone.yaml: no such config file"),
    (("plan", "tiny.yaml", "--calibrations", "gone.json"), "gone.json"),
    (("plan", "tiny.yaml", "--calibrations", "spec.json"), "spec.json"),
    (("data", "spec.json", "--out", "x.json"), "spec.json: not a resolved TaskSpec"),
    (("collect", "--config", "tiny.yaml", "--task", "digits-2", "--shard", 99), "shard"),
    (("join", "gone.h5", "--out", "x.h5"), "gone.h5"),
    (("datasheet", "gone.h5"), "gone.h5"),
    (("card", "gone.safetensors"), "gone.safetensors"),
    (("metatrain", "--config", "tiny.yaml", "--nowcaster", "nino", "--trajectories", "gone.h5"), "gone.h5"),
    ((*EVALUATE, "--method", "base", "--device", "gpu"), "--device"),
    ((*EVALUATE, "--method", "base", "--nowcaster", "gone.pt"), "which reads no file"),
    ((*EVALUATE, "--method", "nino", "--nowcaster", "gone.pt"), "no file gone.pt"),
    ((*EVALUATE[:-1], 2**64, "--method", "base"), "9223372036854775807"),
    (("tables", "--config", "tiny.yaml"), "results/tiny: there is no such folder"),
    (("tables", "--config", "tiny.yaml", "--results", "gone"), "gone: there is no such folder"),
    (("study", "no-study", "--config", "tiny.yaml", "--results", "."), "no-study"),
    (("manifest", "spec.json", "--resolved", "gone.json"), "spec.json: not a resolved ReportSpec"),
    (("verify", "gone"), "gone"),
    (("release", "gone"), "gone"),
    (("permutation", "--config", "tiny.yaml", "--config", "nan.yaml"), "report.confidence (=NaN)"),
    (("convert", "gone.npy", "--config", "tiny.yaml", "--task", "digits-2"), "gone.npy"),
    (("nonsense",), "No such command 'nonsense'"),
    (("tables", "--nonsense"), "No such option: --nonsense"),
]


@pytest.mark.parametrize(("arguments", "says"), WRONG, ids=[" ".join(map(str, each)) for each, _ in WRONG])
def test_a_mistake_ends_in_one_line(nino, files: Path, arguments: tuple[object, ...], says: str) -> None:
    before = {path for path in files.rglob("*") if "__pycache__" not in path.parts}
    ended = nino(*arguments)
    assert ended.code in (1, 2) and "Traceback" not in ended.err
    last = ended.err.splitlines()[-1]
    assert says in last and last.startswith(("nino: error: ", "Error: ")), ended.err
    assert {path for path in files.rglob("*") if "__pycache__" not in path.parts} == before


def test_arguments_are_checked_before_data_are_loaded(nino, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nino import tasks

    def load_task(*_: Any, **__: Any) -> None:
        raise AssertionError("data were loaded")

    monkeypatch.setattr(tasks, "load_task", load_task)
    for arguments in (
        (*EVALUATE, "--method", "base", "--device", "gpu"),
        (*EVALUATE, "--method", "nino", "--nowcaster", "gone.pt"),
        ("collect", "--config", "tiny.yaml", "--task", "digits-2", "--shard", 99),
        ("figures", "--config", "tiny.yaml"),
    ):
        assert nino(*arguments).code in (1, 2), arguments


def test_a_published_name_without_a_network_says_where_to_put_the_file(
    nino, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nino.nowcasters import download, load_nowcaster

    def offline(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(download.urllib.request, "urlopen", offline)
    monkeypatch.setenv("NINO_CACHE", str(files / "cache"))
    ended = nino("check", "nino_no_posw")
    assert ended.code == 1 and len(ended.err.splitlines()) == 1
    assert f"put the file at {files / 'cache' / 'nino_no_posw.pt'}" in ended.err
    with pytest.raises(ConnectionError, match="Without a network") as error:
        load_nowcaster("nino_no_posw")
    assert error.value.__suppress_context__  # one traceback in a notebook, not three


def test_a_fault_of_this_package_keeps_its_traceback() -> None:
    with pytest.raises(TypeError) as error:
        json.dumps(object())
    error.value.__traceback__ = error.value.__traceback__.tb_next  # type: ignore[union-attr]  # from the library on
    assert message(error.value) is None


def test_an_error_without_words_has_its_name() -> None:
    assert message(MemoryError()) == "MemoryError"
