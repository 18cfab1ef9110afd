from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nino.specs import TargetSpec
from nino.specs.targets import DATA_KINDS, METRICS, measurable, told_of, unmeasured
from nino.tasks import DATASETS
from nino.tasks.metric_contract import violations
from nino.tasks.metrics import OURS, accuracy, metric, mse, perplexity, shaped
from nino.tasks.sizes import DataSizes

IMAGES = DataSizes("vision", (1, 8, 8), 5, {}, "drawn").synthetic(8, 40, 8)


def own(folder: Path, body: str) -> TargetSpec:
    """A target by a metric from a file."""
    text = f"import torch\ncalls = []\ndef score(outputs, targets):\n    {body}\n"
    (folder / "own.py").write_text(text, encoding="utf-8")
    return TargetSpec(f"{folder / 'own.py'}:score", 0.5, better="higher")


def parts(outputs: Tensor, targets: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    return list(zip(outputs.split(size), targets.split(size), strict=True))


def test_ours_are_those_of_the_specs() -> None:
    assert OURS.keys() == METRICS.keys() and set(DATA_KINDS) == set(DATASETS)
    assert all(metric(TargetSpec(name, 1.0)) is OURS[name] for name in OURS)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_parts_of_a_split_make_no_difference(size: int) -> None:
    outputs, targets = torch.randn(7, 3, 5), torch.randint(5, (7, 3))
    right = (outputs.argmax(2) == targets).double().mean()
    assert accuracy(parts(outputs, targets, size)) == pytest.approx(100 * float(right))
    entropy = F.cross_entropy(outputs.flatten(0, 1), targets.flatten())
    assert perplexity(parts(outputs, targets, size)) == pytest.approx(math.exp(entropy), rel=1e-5)
    numbers = torch.randn(7, 3)
    assert mse(parts(numbers + 2, numbers, size)) == pytest.approx(4.0, rel=1e-5)


def test_numbers_of_other_shapes_are_never_broadcast() -> None:
    assert mse([(torch.zeros(4), torch.ones(4, 1))]) == 1.0
    with pytest.raises(ValueError, match=r"outputs of shape \(4, 2\), but the data's targets have \(4, 1\)"):
        shaped(torch.zeros(4, 2), torch.zeros(4, 1))


@pytest.mark.parametrize("name", OURS)
def test_nan_in_gives_nan_out(name: str) -> None:
    outputs = torch.randn(4, 3)
    outputs[2, 1] = torch.nan
    targets = torch.zeros(4, 3) if name == "mse" else torch.zeros(4, dtype=torch.long)
    assert math.isnan(OURS[name]([(outputs, targets)]))


def test_one_from_a_file_gets_the_whole_split_at_once(tmp_path: Path) -> None:
    measure = metric(own(tmp_path, "calls.append(0); return 10 * len(calls) + len(outputs) - float(targets.sum())"))
    outputs, targets = torch.randn(7, 2), torch.ones(7)
    assert measure(parts(outputs, targets, 3)) == 10.0
    outputs[0, 0] = torch.nan
    assert math.isnan(measure(parts(outputs, targets, 3)))
    with pytest.raises(ValueError, match=r"own.py:score gave 'high', no number"):
        metric(own(tmp_path, "return 'high'"))([(torch.zeros(2, 2), torch.zeros(2))])
    with pytest.raises(ValueError, match="target.metric is 'acuracy': did you mean 'accuracy'"):
        metric(TargetSpec("acuracy", 1.0))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return float((outputs.argmax(1) == targets).float().mean())", ""),
        ("return float('nan')", "finite: nan"),
        ("return float(torch.rand(()))", "repeatable:"),
        ("return float((outputs.argmax(1) == targets).float().cumsum(0).sum())", "order:"),
        ("return -float((outputs.argmax(1) == targets).float().mean())", "better:"),
        ("return outputs", "raised ValueError"),
        ("raise KeyError('x')", "raised KeyError"),
    ],
)
def test_the_contract_finds_what_breaks_it(tmp_path: Path, body: str, says: str) -> None:
    sentences = violations(metric(own(tmp_path, body)), IMAGES, higher_is_better=True)
    assert (says in sentences[0]) if says else not sentences, sentences


def test_ours_keep_the_contract() -> None:
    tokens = DataSizes("language", (6,), 9, {}, "drawn").synthetic(4, 20, 4)
    assert violations(accuracy, IMAGES, True) == [] == violations(perplexity, tokens, False)


def test_targets_know_direction_unit_and_what_they_measure() -> None:
    assert TargetSpec("accuracy", 90).higher_is_better and not TargetSpec("mse", 1).higher_is_better
    f1 = TargetSpec("a/my.py:f1", -0.5, better="lower")
    assert f1.met(-0.6) and not f1.met(-0.4) and not f1.met(math.nan) and (f1.title, f1.unit) == ("f1", "")
    assert "better" not in TargetSpec("accuracy", 90).to_dict() and f1.to_dict()["better"] == "lower"
    assert measurable("vision", "cross_entropy") == ["accuracy"] and measurable("table", "mse") == ["mse"]
    table = {"name": "table", "options": {"predict": "number"}}
    assert told_of(table) == ("table", "mse") and told_of({"name": "a.py:b"}) is None
    assert unmeasured({"metric": "accuracy"}, "table", "mse") == "measures no numbers to predict; use mse"
    assert unmeasured({"metric": "a.py:b"}, "table", "mse") is None
