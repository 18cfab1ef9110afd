import json
from dataclasses import replace
from pathlib import Path

import pytest

from nino.files import write_json
from nino.specs import DataSpec, EvaluationSpec, ModelSpec, RecipeSpec, TargetSpec, TaskSpec
from nino.tasks import DataSizes, UnknownSizesError, data_sizes, load_task
from nino.tasks.sizes import missing_file, tensor_sizes

ROOT = Path(__file__).resolve().parents[2]
VISION = TaskSpec(
    "v",
    DataSpec("digits"),
    ModelSpec("convnet", {"channels": [2, 2]}),
    RecipeSpec("adam", 0.01, 40, 64),
    TargetSpec("accuracy", 90.0),
    EvaluationSpec(1, 10),
)
LANGUAGE = replace(
    VISION, model=ModelSpec("gpt2", {"layers": 1, "width": 8, "heads": 2}), target=TargetSpec("perplexity", 9.0)
)


def on(task: TaskSpec, *data: object, **options: object) -> TaskSpec:
    return replace(task, data=DataSpec(*data, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("spec", [VISION, on(LANGUAGE, "pydoc", options={"block": 32})])
def test_embedded_data_is_counted(spec: TaskSpec, tmp_path: Path) -> None:
    data, sizes = load_task(spec).data, data_sizes(spec, tmp_path)
    assert sizes.examples == {split: len(data.split(split)) for split in ("train", "validation", "test")}
    assert (sizes.kind, sizes.shape, sizes.outputs) == (data.kind, data.shape, data.outputs)


def test_known_images_have_the_sizes_of_the_real_ones(shared: Path, tmp_path: Path) -> None:
    spec = on(VISION, "fashion-mnist", "npz", str(shared / "data" / "fashion_mnist.npz"))
    data, sizes = load_task(spec, tmp_path).data, data_sizes(spec, tmp_path)
    assert sizes.examples == {split: len(data.split(split)) for split in ("train", "validation", "test")}
    assert (sizes.kind, sizes.shape, sizes.outputs) == (data.kind, data.shape, data.outputs)


def test_text_is_estimated_from_the_size_of_its_files(shared: Path, tmp_path: Path) -> None:
    parts = {"train": "enwiki_test.txt.gz", "validation": "enwiki_valid.txt.gz", "test": "wikitext103_test.txt.gz"}
    tokenizer = str(shared / "data" / "gpt2_tokenizer")
    options = {"block": 128, "files": parts, "tokenizer": tokenizer, "evaluation_blocks": 100}
    spec = on(LANGUAGE, "text", "text", str(shared / "data"), options)
    data, sizes = load_task(spec, tmp_path).data, data_sizes(spec, tmp_path)
    assert sizes.outputs == 50257 and sizes.basis == "the size of its files"
    assert sizes.examples["train"] == pytest.approx(len(data.train), rel=0.2)
    assert sizes.examples["validation"] == len(data.validation) == 100


def test_a_corpus_that_is_not_there_is_as_published(tmp_path: Path) -> None:
    sizes = data_sizes(on(LANGUAGE, "lm1b", "hub", options={"block": 1024, "evaluation_blocks": 2000}), tmp_path)
    assert sizes.basis == "the published corpus" and sizes.outputs == 50257
    assert sizes.examples["train"] // 32 == pytest.approx(24_500, rel=0.01)  # the paper's ~24k steps are an epoch
    assert sizes.examples["validation"] == sizes.examples["test"] == 2000


def test_every_task_of_the_benchmark_is_known_without_its_data(tmp_path: Path) -> None:
    import yaml

    tasks = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))["tasks"]
    found = {name: TaskSpec.from_dict({"id": name, **task}) for name, task in tasks.items()}
    sizes = {name: sum(tensor_sizes(spec, data_sizes(spec, tmp_path))) for name, spec in found.items()}
    assert (sizes["fm-16"], sizes["lm1b-3-24"], sizes["wiki-llama-6-384"]) == (14_378, 1_252_464, 111_481_728)
    assert all(size > 10_000 for size in sizes.values()) and missing_file(found["fm-16"].data, tmp_path)


def test_the_record_of_the_data_job_wins(tmp_path: Path) -> None:
    record, spec = tmp_path / "v.json", on(VISION, "images", "npz")
    content = {
        "task": json.loads(json.dumps(spec.to_dict())),
        "data": {"shape": [3, 9, 9], "outputs": 7, "examples": {"train": 5, "validation": 2, "test": 3}},
    }
    write_json(record, content)
    assert data_sizes(spec, tmp_path, record) == DataSizes(
        "vision", (3, 9, 9), 7, {"train": 5, "validation": 2, "test": 3}, "the data"
    )
    with pytest.raises(UnknownSizesError, match=r"task 'v': data 'images': no file .*images.npz"):
        data_sizes(spec, tmp_path, tmp_path / "none.json")
    other = on(VISION, "images", "npz", "elsewhere.npz")
    with pytest.raises(UnknownSizesError, match="elsewhere.npz"):
        data_sizes(other, tmp_path, record)


def test_what_only_the_data_knows_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnknownSizesError, match="data 'text': its size is that of its files"):
        data_sizes(on(LANGUAGE, "text", "text"), tmp_path)
    with pytest.raises(UnknownSizesError, match="no tokenizer 'my/own'"):
        data_sizes(on(LANGUAGE, "lm1b", "hub", options={"tokenizer": "my/own"}), tmp_path)


def test_synthetic_data_has_the_shape_of_the_real_one() -> None:
    digits = DataSizes("vision", (1, 8, 8), 10, {"train": 1079, "validation": 180, "test": 538}, "the data")
    words = DataSizes("language", (16,), 256, {"train": 900, "validation": 50, "test": 70}, "the data")
    for sizes, spec in ((digits, VISION), (words, on(LANGUAGE, "pydoc", options={"block": 16}))):
        data, real = sizes.synthetic(64, 3, 5), load_task(spec).data
        assert [len(data.train), len(data.validation), len(data.test)] == [64, 3, 5]
        for made, found in zip(data.train.slice(0, 7), real.train.slice(0, 7), strict=True):
            assert made.shape == found.shape and made.dtype == found.dtype


def test_missing_files_are_named(shared: Path, tmp_path: Path) -> None:
    assert missing_file(DataSpec("digits"), tmp_path) is None
    assert (
        missing_file(DataSpec("cifar100", "torchvision"), tmp_path)
        == f"no file {tmp_path / 'cifar-100-python' / 'train'}"
    )
    assert "FashionMNIST/raw/train-images" in str(missing_file(DataSpec("fashion-mnist", "torchvision"), tmp_path))
    assert missing_file(DataSpec("cifar10", "npz"), tmp_path) == f"no file {tmp_path / 'cifar10.npz'}"
    assert missing_file(DataSpec("cifar10", "npz", str(shared / "data" / "cifar10_jpeg.npz")), tmp_path) is None
    assert "data 'wikitext-103' has no train split" in str(missing_file(DataSpec("wikitext-103", "hub"), tmp_path))
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.txt").write_text("text")
    assert "train_data_batch_1.npz" in str(missing_file(DataSpec("imagenet32", "npz"), tmp_path))
    assert missing_file(DataSpec("imagenet32", "folder"), tmp_path) == f"no folder {tmp_path / 'imagenet32'}"
    text = DataSpec("text", "text", str(tmp_path))
    assert "no tokenizer openai-community/gpt2" in str(missing_file(text, tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    assert missing_file(replace(text, options={"tokenizer": str(tmp_path)}), tmp_path) is None
