"""Data from functions outside the package: what they may return, and the contract that `nino check` holds data to."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nino.specs import DataSpec
from nino.tasks import Blocks, Data, load_task
from nino.tasks.data import Rows
from nino.tasks.data_contract import shared_examples, violations
from nino.tasks.registry import load_data
from nino.tasks.user_data import from_splits

RNG = np.random.default_rng(0)
X9 = np.arange(9.0)
FILE = """
import numpy as np
import torch

def load(count=60, noise=0.0, path=None):
    x = np.arange(count * 2, dtype=np.float64).reshape(count, 2) + noise * np.random.rand()
    if path is not None:
        x += float(np.loadtxt(path))
    return {"train": (x, np.arange(count) % 3)}

def broken(count=60):
    return {"train": ([1, 2][count], [0])}

def wrong():
    return [1, 2, 3]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mydata.py"
    path.write_text(FILE)
    return path


def of(file: Path, name: str, **options: Any) -> Data:
    return load_data(DataSpec(f"{file}:{name}", options=options), Path())


def test_a_function_of_a_file_gives_data(file: Path) -> None:
    data = of(file, "load", count=90)
    assert data.kind == "table" and data.shape == (2,) and data.outputs == 3 and data.loss == "cross_entropy"
    assert [len(data.split(split)) for split in ("train", "validation", "test")] == [72, 9, 9]
    assert data.facts["loader"] == {"path": str(file), "sha256": hashlib.sha256(FILE.encode()).hexdigest()}
    assert of(file, "load", count=90).checksum == data.checksum != of(file, "load").checksum
    assert violations(lambda: of(file, "load")) == []


def test_a_path_reaches_a_function_that_takes_it(file: Path, tmp_path: Path) -> None:
    (tmp_path / "number.txt").write_text("7")
    spec = DataSpec(f"{file}:load", path=str(tmp_path / "number.txt"))
    moved, plain = load_data(spec, Path()), of(file, "load")
    assert torch.equal(moved.train.slice(0, 9)[0], plain.train.slice(0, 9)[0] + 7)


def test_packages_register_functions(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(file.parent))
    monkeypatch.setattr("nino.specs.references.registered", lambda kind: {"steps": "mydata:load"})
    data = load_data(DataSpec("steps", options={"count": 30}), Path())
    assert len(data.train) == 24 and data.facts["loader"]["path"] == "mydata"


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("broken", {}, r"IndexError: list index out of range \(.*mydata.py:12\); see --debug"),
        ("load", {"counts": 3}, "got an unexpected keyword argument 'counts'; its arguments are count, noise, path"),
        ("wrong", {}, "returned list; expected a nino.tasks.Data, or a mapping of splits"),
        ("none", {}, "defines no none"),
    ],
)
def test_what_fails_in_a_function_is_said_in_one_line(
    file: Path, name: str, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        of(file, name, **options)
    assert "\n" not in str(caught.value)


def test_arrays_become_what_they_are() -> None:
    pixels, labels = RNG.integers(0, 256, (50, 3, 4, 4), np.uint8), np.arange(50) % 5
    images = from_splits("x", {"train": (pixels, labels)})
    assert images.kind == "vision" and images.shape == (3, 4, 4) and images.outputs == 5
    tokens = from_splits("x", {"train": torch.arange(120).view(20, 6) % 11})
    assert tokens.kind == "language" and tokens.shape == (6,) and tokens.outputs == 11
    inputs, targets = tokens.train.slice(0, 2)
    assert torch.equal(inputs[:, 1:], targets[:, :-1]) and inputs.dtype == torch.long
    numbers = from_splits("x", {"train": (RNG.normal(size=(40, 3, 2)), RNG.normal(size=40))})
    assert numbers.kind == "table" and numbers.shape == (3, 2) and numbers.outputs == 1 and numbers.loss == "mse"
    whole = from_splits("x", {"train": (np.arange(40), np.arange(40) % 2)})
    assert whole.shape == (1,) and whole.train.slice(0, 1)[0].dtype == torch.float32
    own = {"train": (np.zeros((9, 2)), [0, 1, 2] * 3), "test": (np.ones((3, 2)), [0, 1, 2])}
    given = from_splits("x", own)
    assert len(given.test) == 3 and given.test.slice(0, 3)[0].eq(1).all()
    assert len(given.train) + len(given.validation) == 9
    for data in (images, tokens, numbers, whole):
        assert violations(lambda data=data: data) == []  # type: ignore[misc]


@pytest.mark.parametrize("kind", [np.uint16, np.uint32, np.uint64])
def test_unsigned_numbers_are_whole_numbers(kind: type[np.unsignedinteger[Any]]) -> None:
    tokens = np.arange(120).reshape(20, 6) % 11
    assert from_splits("x", {"train": tokens.astype(kind)}).checksum == from_splits("x", {"train": tokens}).checksum
    classes = from_splits("x", {"train": (tokens.astype(kind), (np.arange(20) % 3).astype(kind))})
    assert (
        classes.outputs == 3 and classes.checksum == from_splits("x", {"train": (tokens, np.arange(20) % 3)}).checksum
    )


@pytest.mark.parametrize(
    ("splits", "says"),
    [
        ({"training": 1}, "returned splits training; expected a nino.tasks.Data"),
        (7, "returned int; expected"),
        ({"train": (np.zeros((4, 2)), np.zeros(3))}, r"the train split is float64 \(4, 2\), float64 \(3,\); expected"),
        ({"train": (np.zeros((0, 2)), np.zeros(0))}, "the train split is"),
        ({"train": (["a"], [1])}, "the train split is no array"),
        ({"train": np.zeros((9, 4))}, r"returned float64 \(\d, 4\) without targets"),
        ({"train": (np.zeros((9, 2)), [-1, 0, 1] * 3)}, "the smallest -1; classes must"),
        (
            {"train": (np.full((9, 2), np.nan), [0, 1, 2] * 3)},
            "18 of 18 numbers in inputs of train are no finite float32",
        ),
        ({"train": (np.full((9, 2), 1e300), [0, 1, 2] * 3)}, "numbers in inputs of train are no finite float32"),
        (
            {"train": (X9, X9), "test": (X9, np.where(X9 == 4, -np.inf, 0.0))},
            "1 of 9 numbers in targets of test are no finite float32, the first in example 5; correct",
        ),
        ({"train": (X9 * 1j, [0, 1, 2] * 3)}, r"inputs of train are complex128 \(9,\); give real and imaginary"),
        ({"train": (X9, X9 * 1j)}, "targets of train are complex128"),
        ({"train": np.full((9, 4), 3), "test": np.full((9, 4), -1)}, "the smallest token is -1; tokens must be"),
        ({"train": (X9, X9.astype(int) * 0)}, "the class is 0 in every row: nothing to predict"),
        ({"train": (np.zeros((9, 2)), np.ones((9, 2), int))}, r"targets of train are int64 \(\d, 2\)"),
        (
            {"train": (np.zeros((9, 2)), np.ones(9)), "test": (np.zeros((9, 3)), np.ones(9))},
            "its splits do not go together: train float64",
        ),
    ],
)
def test_other_things_are_refused(splits: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        from_splits("x", splits)
    assert "\n" not in str(caught.value)


def table(train: torch.Tensor, targets: torch.Tensor, **changed: Any) -> Callable[[], Data]:
    rows = [Rows(train, targets), Rows(train + 100, targets), Rows(train + 200, targets)]
    outputs, loss = (2, "cross_entropy") if targets.dtype == torch.long else (1, "mse")
    data = Data("table", *rows, tuple(train.shape[1:]), outputs, "0", loss=loss)
    return lambda: replace(data, **changed)


X, Y = torch.arange(20.0).view(10, 2), torch.arange(10) % 2


@pytest.mark.parametrize(
    ("load", "says"),
    [
        (table(X, Y), None),
        (table(X, Y.float().view(-1, 1)), None),
        (table(X, Y.float()), r"targets of 2 examples are torch.float32 \(2,\); .*must be torch.float32 \(2, 1\)"),
        (table(X.double(), Y), "inputs of 2 examples are torch.float64"),
        (table(X, Y, shape=(3,)), r"must be torch.float32 \(2, 3\)"),
        (table(X, Y, kind="tabular"), "kind is 'tabular'; allowed are vision, language, table"),
        (table(X, Y, loss="l1"), "loss is 'l1'"),
        (table(X, Y, outputs=1), "outputs is 1; for cross_entropy give at least 2"),
        (table(X, Y, test=Rows(X[:0], Y[:0])), "the test split is empty"),
        (table(X, Y + 1), "targets range from 1 to 2; must be 0 to 1"),
        (table(X / 0, Y), "train: 20 of 20 inputs in a piece are not finite"),
        (table(X, Y.float().view(-1, 1) / 0), "10 of 10 targets in a piece are not finite"),
    ],
)
def test_the_contract_sees(load: Callable[[], Data], says: str | None) -> None:
    found = violations(load)
    assert found == [] if says is None else any(re.search(says, sentence) for sentence in found), found


def test_the_contract_sees_chance_and_failures(file: Path) -> None:
    assert any("loaded again, checksum is another" in each for each in violations(lambda: of(file, "load", noise=1.0)))
    assert violations(lambda: of(file, "broken"))[0].startswith("load: ValueError")
    once = [of(file, "load")]
    assert violations(once.pop) == ["repeatable: raised IndexError: pop from empty list"]

    class Noisy(Rows):
        def slice(self, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
            return self.inputs[start:stop] + torch.rand(()), self.targets[start:stop]

    assert any(
        "select: train" in sentence for sentence in violations(lambda: replace(table(X, Y)(), train=Noisy(X, Y)))
    )
    blocks = Blocks(torch.arange(40).view(8, 5) % 7)
    words = Data("language", blocks, blocks, blocks, (5,), 6, "0")
    assert any("range from 0 to 6; must be 0 to 5" in sentence for sentence in violations(lambda: words))


def test_examples_in_two_splits_are_counted() -> None:
    data = table(X, Y)()
    assert shared_examples(data) == []
    doubled = torch.cat([X[:3], X[:1], X + 300])
    test = Rows(doubled, torch.cat([Y[:3], Y[:1], Y]))
    (sentence,) = shared_examples(replace(data, test=test))
    assert sentence.startswith("4 of 14 examples of test are in train, too")
    other = Rows(X, 1 - Y)  # the same inputs, other targets
    assert shared_examples(replace(data, test=other)) == []


def test_a_task_records_what_it_was_given(file: Path) -> None:
    from nino.specs import EvaluationSpec, ModelSpec, RecipeSpec, TargetSpec, TaskSpec

    spec = TaskSpec(
        "own",
        DataSpec(f"{file}:load"),
        ModelSpec("mlp", {"hidden": [4]}),
        RecipeSpec("adam", 0.01, 5, 8),
        TargetSpec("accuracy", 50.0),
        EvaluationSpec(1, 5),
    )
    told = load_task(spec).describe()
    assert told["data"]["kind"] == "table" and told["data"]["loader"]["path"] == str(file)
    assert told["parameters"] == 2 * 4 + 4 + 4 * 3 + 3
