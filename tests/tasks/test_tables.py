"""Tables: columns become features and targets; what cannot be trained on is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nino.specs import DataSpec
from nino.tasks import DATASETS, Data
from nino.tasks.data_contract import shared_examples, violations

RNG = np.random.default_rng(0)
COLOURS = ("blue", "green", "red")


def write(path: Path, header: str, rows: list[tuple[Any, ...]]) -> Path:
    lines = [header, *(",".join("" if value is None else str(value) for value in row) for row in rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def rows(count: int = 100) -> list[tuple[Any, ...]]:
    """Two numbers, a colour, a grade of 0 to 3, yes or no, and the species."""
    return [
        (f"{RNG.normal(5, 3):.6f}", i, COLOURS[i % 3], i % 4, ("true", "false")[i % 2], ("cat", "dog")[i % 5 > 2])
        for i in range(count)
    ]


HEADER = "length,number,colour,grade,wild,species"


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    return write(tmp_path / "animals.csv", HEADER, rows())


def load(path: Path | None, source: str = "csv", **options: Any) -> Data:
    spec = DataSpec("table", source, path and str(path), {"target": "species"} | options)
    return DATASETS["table"](spec, Path("data"), False)


def test_columns_become_features(animals: Path) -> None:
    data = load(animals, categorical=["grade"])
    assert data.kind == "table" and data.loss == "cross_entropy" and data.outputs == 2
    assert data.shape == (1 + 1 + 3 + 4 + 1,) and data.facts["classes"] == ["cat", "dog"]
    assert data.facts["features"]["colour"] == {"categories": list(COLOURS)}
    assert data.facts["features"]["grade"] == {"categories": ["0", "1", "2", "3"]}
    x, y = data.train.slice(0, len(data.train))
    assert x.dtype == torch.float32 and y.dtype == torch.long
    numbers, hot = x[:, [0, 1, 9]], x[:, 2:9]
    assert torch.allclose(numbers.mean(0), torch.zeros(3), atol=1e-5)
    assert torch.allclose(numbers.std(0, correction=0), torch.ones(3), atol=1e-5)
    assert set(hot.unique().tolist()) == {0.0, 1.0}
    assert hot[:, :3].sum(1).eq(1).all() and hot[:, 3:].sum(1).eq(1).all()
    assert violations(lambda: load(animals)) == [] and shared_examples(data) == []


def test_every_row_is_in_one_split_and_classes_keep_their_shares(animals: Path) -> None:
    data = load(animals, features=["number"], standardise="none")
    parts = [data.split(split).slice(0, 100) for split in ("train", "validation", "test")]
    numbers = sorted(torch.cat([x[:, 0] for x, _ in parts]).tolist())
    assert numbers == list(range(100)) and [len(x) for x, _ in parts] == [80, 10, 10]
    assert [int(y.sum()) for _, y in parts] == [32, 4, 4]
    other = load(animals, features=["number"], standardise="none", draw={"seed": 1})
    assert other.checksum != data.checksum and len(other.train) == 80
    thirds = load(animals, draw={"validation": 0.25, "test": 0.25})
    assert [len(thirds.split(split)) for split in ("train", "validation", "test")] == [50, 25, 25]


def test_statistics_are_the_training_splits(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "x,y", [(0, "a"), (2, "b")] * 5)
    write(tmp_path / "validation.csv", "x,y", [(5, "a"), (5, "b")])
    write(tmp_path / "test-1.csv", "x,y", [(3, "b")])
    write(tmp_path / "test-2.csv", "x,y", [(1, "a")])
    data = load(tmp_path, target="y")
    assert data.test.slice(0, 2)[0].flatten().tolist() == [2.0, 0.0]
    assert data.validation.slice(0, 2)[0].flatten().tolist() == [4.0, 4.0]
    assert data.test.slice(0, 2)[1].tolist() == [1, 0]
    assert set(data.facts["files"]) == {"train.csv", "validation.csv", "test-1.csv", "test-2.csv"}


def test_splits_without_files_are_drawn_where_the_config_names_the_files(tmp_path: Path) -> None:
    write(tmp_path / "all.csv", "x,y", [(i, "ab"[i % 2]) for i in range(40)])
    write(tmp_path / "held.csv", "x,y", [(100 + i, "ab"[i % 2]) for i in range(6)])
    data = load(tmp_path, target="y", files={"train": "all.csv", "test": "held.csv"}, standardise="none")
    assert [len(data.split(split)) for split in ("train", "validation", "test")] == [36, 4, 6]
    assert data.test.slice(0, 6)[0].flatten().tolist() == [100, 101, 102, 103, 104, 105]


def test_numbers_are_predicted(tmp_path: Path) -> None:
    path = write(tmp_path / "n.csv", "a,b,c", [(i, 2 * i + 1, -i) for i in range(50)])
    data = load(path, target=["b", "c"], predict="number")
    assert data.loss == "mse" and data.outputs == 2 and data.shape == (1,)
    _, y = data.train.slice(0, 40)
    assert y.dtype == torch.float32 and torch.equal(y[:, 0], 1 - 2 * y[:, 1])
    scaled = load(path, target="b", predict="number", standardise="all")
    _, z = scaled.train.slice(0, 40)
    assert abs(float(z.mean())) < 1e-5 and abs(float(z.var(correction=0)) - 1) < 1e-5
    assert len(scaled.facts["target_mean"]) == 1 and violations(lambda: data) == violations(lambda: scaled) == []


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["no", "yes"], ["no", "yes"]),
        (["true", "false"], ["0", "1"]),
        ([10, 9], ["9", "10"]),
        ([1.0, -1.0], ["-1", "1"]),
        (["ä", "ß"], ["ß", "ä"]),
    ],
)
def test_labels_of_any_type_are_classes(tmp_path: Path, labels: list[Any], names: list[str]) -> None:
    path = write(tmp_path / "t.csv", "x,y", [(i, labels[i % 2]) for i in range(20)])
    assert load(path, target="y").facts["classes"] == names


def test_whole_numbers_beyond_floats_are_categories_of_their_own(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "x,y", [(2**60 + i % 3, 2**60 + i % 2) for i in range(30)])
    data = load(path, target="y", categorical=["x"])
    assert data.facts["classes"] == [str(2**60), str(2**60 + 1)] and data.outputs == 2
    assert data.facts["features"]["x"]["categories"] == [str(2**60 + i) for i in range(3)]
    lines = [(2**60 + i % 3 if i else None, i % 2) for i in range(30)]
    filled = load(write(tmp_path / "u.csv", "x,y", lines), target="y", categorical=["x"], missing="fill")
    assert filled.facts["features"]["x"]["categories"] == [*(str(2**60 + i) for i in range(3)), ""]


def test_text_that_is_not_used_may_be_of_another_encoding(tmp_path: Path) -> None:
    lines = b"".join(b"%d,caf\xe9,%d\n" % (i, i % 2) for i in range(30))
    (tmp_path / "t.csv").write_bytes(b"x,note,y\n" + lines)
    assert load(tmp_path / "t.csv", target="y", features=["x"]).shape == (1,)


def test_files_of_two_folders_may_share_a_name(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write(tmp_path / split / "data.csv", "x,y", [(i, i % 2) for i in range(30 if split == "train" else 6)])
    data = load(tmp_path, target="y", files={"train": "train/data.csv", "test": "test/data.csv"})
    assert [*data.facts["files"]] == ["train/data.csv", "test/data.csv"]
    assert len({*data.facts["files"].values()}) == 2
    assert [*load(tmp_path / "train" / "data.csv", target="y").facts["files"]] == ["data.csv"]


def test_parquet_gives_what_csv_gives(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    lines = rows()
    path = write(tmp_path / "t.csv", HEADER, lines)
    columns = [*zip(*lines, strict=True)]
    wild = [value == "true" for value in columns[4]]
    table = {"length": [float(v) for v in columns[0]], "number": columns[1], "colour": columns[2], "grade": columns[3]}
    pq.write_table(pa.table(table | {"wild": wild, "species": columns[5]}), tmp_path / "t.parquet")
    found = load(tmp_path / "t.parquet", "parquet")
    assert found.checksum == load(path).checksum
    (tmp_path / "t.tsv").write_text(path.read_text().replace(",", "\t"))
    assert load(tmp_path / "t.tsv").checksum == found.checksum


def test_a_column_is_typed_by_all_of_its_values(tmp_path: Path) -> None:
    count = 200_000  # beyond the first block that a reader guesses types from
    path = write(tmp_path / "t.csv", "x,y", [*((i, i % 2) for i in range(count)), ("0.5", 1)])
    assert load(path, target="y").facts["features"] == {"x": "number"}


def test_categories_that_training_has_not(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "c,y", [("u", 0), ("v", 1)] * 4)
    write(tmp_path / "validation.csv", "c,y", [("v", 0)])
    write(tmp_path / "test.csv", "c,y", [("w", 1), ("u", 0)])
    data = load(tmp_path, target="y")
    assert data.test.slice(0, 2)[0].tolist() == [[0.0, 0.0], [1.0, 0.0]]
    assert data.facts["features"]["c"] == {"categories": ["u", "v"], "unseen": 1}
    codes = load(tmp_path, target="y", encoding="codes", standardise="none")
    assert codes.test.slice(0, 2)[0].tolist() == [[-1.0], [0.0]] and codes.shape == (1,)


def test_missing_values(tmp_path: Path) -> None:
    lines: list[tuple[Any, ...]] = [(i, "pq"[i % 2], i % 2) for i in range(30)]
    lines[3], lines[8], lines[9] = (None, "p", 1), ("NaN", "q", 0), (9, None, 1)
    path = write(tmp_path / "t.csv", "x,c,y", lines)
    with pytest.raises(ValueError, match=r"t.csv: column 'x' lacks 2 of 30 values, the first in row 4 .*drop, or fill"):
        load(path, target="y")
    dropped = load(path, target="y", missing="drop")
    assert sum(len(dropped.split(split)) for split in ("train", "validation", "test")) == 27
    filled = load(path, target="y", missing="fill", standardise="none")
    x = torch.cat([filled.split(split).slice(0, 30)[0] for split in ("train", "validation", "test")])
    assert len(x) == 30 and x.isfinite().all() and filled.facts["features"]["c"]["categories"] == ["", "p", "q"]
    known = filled.train.slice(0, 30)[0][:, 0]
    assert ((known % 1 != 0).sum() + (known == known.mean()).sum()) <= 2  # those that were filled in
    lines[5] = (5, "p", None)
    with pytest.raises(ValueError, match=r"column 'y' lacks 1 of 30 values, the first in row 6 .*missing: drop$"):
        load(write(tmp_path / "u.csv", "x,c,y", lines), target="y", missing="fill")


def test_the_checksum_follows_values_and_splits_only(animals: Path, tmp_path: Path) -> None:
    checksum = load(animals).checksum
    copied = tmp_path / "elsewhere" / "other.csv"
    copied.parent.mkdir()
    copied.write_text(animals.read_text())
    assert load(copied).checksum == checksum
    copied.write_text(animals.read_text().replace("green", "olive"))
    assert load(copied).checksum == checksum  # one-hot: the same numbers
    copied.write_text(animals.read_text().replace("99,", "98,"))
    assert load(copied).checksum != checksum
    assert json.loads(json.dumps(dict(load(copied).facts)))["source"] == "csv"


BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "no column": (
        "x,why\n1,2\n",
        {},
        r"has no column 'y', which data.options.target names; .*Allowed: why, x|allowed: why, x",
    ),
    "no feature": ("x,y\n1,2\n", {"features": ["z"]}, "no column 'z', which data.options.features names"),
    "target alone": ("y\na\nb\n", {}, "has no column beside the target"),
    "target as feature": ("x,y\n1,a\n2,b\n", {"features": ["x", "y"]}, "column 'y' is both target and feature"),
    "no rows": ("x,y\n", {}, "t.csv: no rows"),
    "empty": ("", {}, "t.csv cannot be read as a table: it is empty"),
    "ragged": ("x,y\n1,a\n2,b,3\n", {}, "t.csv cannot be read as a table: .*Expected 2 columns, got 3"),
    "twice": ("x,x,y\n1,2,a\n", {}, "has two columns 'x'"),
    "one class": ("x,y\n" + "1,a\n" * 20, {}, "target 'y' is 'a' in every row: one class"),
    "decimals": ("x,y\n1,0.5\n2,1.5\n", {}, "target 'y' holds 0.5, a number and no class; .*predict: number"),
    "all differ": ("x,y\n" + "".join(f"1,{i}\n" for i in range(20)), {}, "20 classes in 20 rows; .*predict: number"),
    "text as number": ("x,y\n1,a\n2,b\n", {"predict": "number"}, "target 'y' holds no numbers; .*predict: class"),
    "same number": ("x,y\n1,3\n2,3\n", {"predict": "number"}, "target 'y' is 3 in every row"),
    "two classes": ("x,y,z\n1,a,b\n", {"target": ["y", "z"]}, "names 2 columns; .*predict: number"),
    "infinite": (
        "x,y\n" + "1,a\n2,b\n" * 9 + "inf,a\n",
        {},
        "column 'x' holds inf in row 19, which is no finite float32",
    ),
    "too large": ("x,y\n" + "1,a\n2,b\n" * 9 + "1e39,a\n", {}, r"column 'x' holds 1e\+39 in row 19"),
    "dates": ("x,y\n" + "2020-01-01,a\n2020-01-02,b\n" * 9, {}, "column 'x' holds values of type date32"),
    "too few": ("x,y\n1,a\n2,b\n3,a\n", {}, "3 examples are too few: the validation split would be empty"),
    "no share": (
        "x,y\n" + "1,a\n2,b\n" * 9,
        {"draw": {"test": 0.0}},
        "has no test split, and data.options.draw.test is 0",
    ),
    "nothing left": ("x,y\n1,a\n", {"draw": {"test": 0.5, "validation": 0.5}}, "leaves nothing for training|one class"),
    "unknown categorical": ("x,y\n" + "1,a\n2,b\n" * 9, {"categorical": ["z"]}, "categorical names 'z', which is no"),
    "latin-1": ("x,y\n" + "1,caf\udce9\n2,b\n" * 9, {}, "t.csv: column 'y' is no UTF-8 text; save the file as UTF-8"),
    "latin-1 header": ("caf\udce9,y\n" + "1,a\n2,b\n" * 9, {}, "t.csv: its header is no UTF-8 text; save it as UTF-8"),
    "option": ("x,y\n1,a\n", {"targets": "y"}, "targets: unknown key; did you mean 'target'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tables_are_refused_in_one_line(tmp_path: Path, case: str) -> None:
    text, options, says = BAD[case]
    (tmp_path / "t.csv").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ValueError, match=says) as caught:
        load(tmp_path / "t.csv", **({"target": "y"} | options))
    assert "\n" not in str(caught.value)


def test_files_that_are_missing_or_do_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file or folder .*none.csv, which data.path names"):
        load(tmp_path / "none.csv")
    with pytest.raises(FileNotFoundError, match=r"has no train split: no file of .csv.* in .*; put it there"):
        load(tmp_path)
    with pytest.raises(FileNotFoundError, match="name its file or folder in data.path"):
        load(None)
    write(tmp_path / "train.csv", "x,species", [(i, "ab"[i % 2]) for i in range(20)])
    with pytest.raises(FileNotFoundError, match=r"has no validation split: no file validation\*"):
        load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no file .*no.csv, which data.options.files.test names"):
        load(tmp_path, files={"train": "train.csv", "test": "no.csv"})
    with pytest.raises(ValueError, match="with data.options.files it must be their folder"):
        load(tmp_path / "train.csv", files={"train": "train.csv"})
    write(tmp_path / "validation.csv", "x,species", [(1, "a")])
    write(tmp_path / "test.csv", "x,species", [(1, "c")])
    with pytest.raises(ValueError, match="class 'c' of target 'species' is not in the training split"):
        load(tmp_path)
    write(tmp_path / "test.csv", "x,species", [("much", "a")])
    with pytest.raises(ValueError, match="its files do not go together"):
        load(tmp_path)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match="broken.parquet cannot be read as a table"):
        load(tmp_path / "broken.parquet", "parquet")
    with pytest.raises(ValueError, match="data.source is 'embedded', but 'table' comes from: csv, parquet, hub"):
        load(tmp_path / "train.csv", "embedded")


def test_too_many_categories(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "name,y", [(f"n{i}", i % 2) for i in range(1500)])
    with pytest.raises(ValueError, match=r"column 'name' names 1,200 categories.*encoding: codes"):
        load(path, target="y")
    assert load(path, target="y", encoding="codes").shape == (1,)
