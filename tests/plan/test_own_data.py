"""Plans of data of one's own: sizes without training, before the data is read where that takes long."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nino.config.load import load
from nino.config.resolve import resolve
from nino.files import write_json
from nino.plan.calibrate import calibrate
from nino.plan.disk import FILE_BYTES, _data
from nino.specs import DataSpec, EvaluationSpec, ModelSpec, RecipeSpec, TargetSpec, TaskSpec
from nino.tasks import UnknownSizesError, data_sizes, images, load_task
from nino.tasks.sizes import missing_file, tensor_sizes

SPLITS = ("train", "validation", "test")
RECIPE, EVALUATION = RecipeSpec("adam", 0.01, 40, 8), EvaluationSpec(1, 10)


def task(data: DataSpec, metric: str = "accuracy", model: str = "mlp") -> TaskSpec:
    options = {"mlp": {"hidden": [4]}, "gpt2": {"layers": 1, "width": 8, "heads": 2}}[model]
    return TaskSpec("t", data, ModelSpec(model, options), RECIPE, TargetSpec(metric, 1.0), EVALUATION)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = "".join(f"{i},{-i},{'ab'[i % 2]}\n" for i in range(100))
    (tmp_path / "t.csv").write_text(f"x,y,c\n{rows}")
    return tmp_path / "t.csv"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / "im" / name).mkdir(parents=True)
        for i in range(20):
            pixels = np.random.default_rng(i).integers(0, 256, (6, 5, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "im" / name / f"{i}.png")
    return tmp_path / "im"


@pytest.mark.parametrize("number", [False, True])
def test_a_table_is_counted_and_timed(table: Path, tmp_path: Path, number: bool) -> None:
    options = {"target": "y", "predict": "number"} if number else {"target": "c"}
    spec = task(DataSpec("table", "csv", str(table), options), "mse" if number else "accuracy")
    loaded = load_task(spec)
    sizes = data_sizes(spec, tmp_path)
    assert sizes.examples == {"train": 80, "validation": 10, "test": 10} and sizes.loss == loaded.data.loss
    assert (sizes.kind, sizes.shape, sizes.outputs) == (loaded.data.kind, loaded.data.shape, loaded.data.outputs)
    assert sizes.held_bytes == 4 * sizes.shape[0] * 100
    made, real = sizes.synthetic(64, 3, 5), loaded.data
    for a, b in zip(made.train.slice(0, 7), real.train.slice(0, 7), strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
    assert sum(tensor_sizes(spec, sizes)) == loaded.num_parameters()
    write_json(tmp_path / "record.json", loaded.describe())
    table.unlink()
    assert data_sizes(spec, tmp_path, tmp_path / "record.json") == sizes
    assert "no file or folder" in str(missing_file(spec.data, tmp_path))
    with pytest.raises(UnknownSizesError, match="no file or folder"):
        data_sizes(spec, tmp_path)
    times = calibrate(spec, sizes, loaded.device, {}, {}, tmp_path)
    assert times.step > 0 and times.test > 0


def test_images_are_counted_without_being_decoded(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = DataSpec("images", "folder", str(folder))
    loaded = load_task(task(data), tmp_path / "d").data
    monkeypatch.setattr(images, "images", lambda *_: pytest.fail("decoded"))
    sizes = data_sizes(task(data), tmp_path / "none")
    assert sizes.examples == {split: len(loaded.split(split)) for split in SPLITS}
    assert (sizes.shape, sizes.outputs, sizes.kind) == (loaded.shape, loaded.outputs, "vision")
    resized = replace(data, options={"size": 4, "colours": "grey"})
    assert data_sizes(task(resized), tmp_path / "none").shape == (1, 4, 4)
    assert missing_file(data, tmp_path) is None
    assert "no folder" in str(missing_file(replace(data, path="nowhere"), tmp_path))


def test_a_cut_text_is_estimated(tmp_path: Path) -> None:
    (tmp_path / "my.txt").write_text("some words of a text\n" * 2000)
    data = DataSpec("text", "text", str(tmp_path / "my.txt"), {"tokenizer": "bytes", "block": 32})
    loaded = load_task(task(data, "perplexity", "gpt2"), tmp_path).data
    sizes = data_sizes(task(data, "perplexity", "gpt2"), tmp_path)
    assert sizes.outputs == 256 and sizes.basis == "the size of its files"
    for split in SPLITS:
        assert sizes.examples[split] == pytest.approx(len(loaded.split(split)), rel=0.05)
    assert missing_file(data, tmp_path) is None
    hub = DataSpec("text", "hub", options={"repository": "a/b", "tokenizer": "bytes"})
    assert str(missing_file(hub, tmp_path)).startswith("a/b, to be fetched into ")


def test_decoded_images_need_room(folder: Path, tmp_path: Path) -> None:

    run = resolve(load([Path(__file__).parents[1] / "workflow" / "tiny.yaml"]))
    data = DataSpec("images", "folder", str(folder))
    tasks = {"digits-2": replace(task(data), id="digits-2")}
    run = replace(run, tasks=tasks, data_dir=tmp_path / "d")
    sizes = {"digits-2": data_sizes(tasks["digits-2"], tmp_path)}
    (need,) = _data(run, sizes)
    assert need.path == tmp_path / "d" / "decoded" and need.size == 40 * 90 + FILE_BYTES
    load_task(tasks["digits-2"], tmp_path / "d")
    written = sum(path.stat().st_size for path in need.path.rglob("*") if path.is_file())
    assert 40 * 90 < written <= need.size


def test_functions_of_ones_own_are_asked_and_several_inputs_are_not_estimated(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import torch\nfrom nino.tasks import Data\nfrom nino.tasks.data import Rows\n\n\n"
        "class Pair(Rows):\n"
        "    def slice(self, start, stop):\n"
        "        return (self.inputs[start:stop], self.inputs[start:stop]), self.targets[start:stop]\n\n\n"
        "def load(count=20, several=False):\n"
        "    rows = (Pair if several else Rows)(torch.zeros(count, 3), torch.arange(count) % 2)\n"
        "    return Data('table', rows, rows, rows, (3,), 2, 'x')\n"
    )
    spec = task(DataSpec(f"{tmp_path / 'own.py'}:load", options={"count": 30}))
    assert data_sizes(spec, tmp_path).examples == dict.fromkeys(SPLITS, 30)
    several = replace(spec, data=replace(spec.data, options={"several": True}))
    with pytest.raises(UnknownSizesError, match="more than one tensor"):
        data_sizes(several, tmp_path)
