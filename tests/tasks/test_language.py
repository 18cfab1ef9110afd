import shutil
import sys
import types

import pytest
import torch

from nino.specs import DataSpec
from nino.tasks import DATASETS, load_task
from nino.tasks.hub import HUB_TEXT
from nino.tasks.tokenizers import holds_tokenizer, load_tokenizer

SENTENCES = {split: [f"{split} sentence {i} ab ." for i in range(40)] for split in ("train", "validation", "test")}


@pytest.fixture
def text_folder(tmp_path):
    folder = tmp_path / "text"
    folder.mkdir()
    for split, sentences in SENTENCES.items():
        (folder / f"{split}.txt").write_text("\n".join(sentences) + "\n")
    return folder


@pytest.fixture
def parquet_folder(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path / "parquet"
    folder.mkdir()
    for split, sentences in SENTENCES.items():
        pq.write_table(pa.table({"text": sentences}), folder / f"{split}.parquet")
    return folder


def load(name, source, data_dir, folder, tokenizer, download=False, **options):
    values = {"block": 16, "tokenizer": str(tokenizer)} | options
    return DATASETS[name](DataSpec(name, source, folder and str(folder), values), data_dir, download)


def test_pydoc_is_bytes_split_by_topic(pydoc):
    from pydoc_data.topics import topics

    joined = {
        s: pydoc.data.split(s).tokens.flatten().numpy().tobytes().decode(errors="replace")
        for s in ("train", "validation", "test")
    }
    assert all(len(text) > 10_000 for text in joined.values())
    assert 0.5 < sum(map(len, joined.values())) / sum(len(text.encode()) for text in topics.values()) < 0.95
    paragraphs = {s: {" ".join(p.split()) for p in text.split("\n\n")} for s, text in joined.items()}
    assert sum(map(len, paragraphs.values())) > 1000
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not paragraphs[one] & paragraphs[other] - {""}
    assert pydoc.data.shape == (32,) and pydoc.data.outputs == 256


def test_text_and_parquet_give_the_same_blocks(tmp_path, text_folder, parquet_folder, tokenizer_folder):
    text = load("lm1b", "text", tmp_path, text_folder, tokenizer_folder)
    parquet = load("lm1b", "parquet", tmp_path, parquet_folder, tokenizer_folder)
    assert text.checksum == parquet.checksum
    assert text.outputs == 258
    assert text.facts["files"].keys() == {"train.txt", "validation.txt", "test.txt"}
    # 256 is the merge "ab": the tokenizer was used
    assert (text.train.tokens == 256).sum() > 30


def test_blocks_decode_to_the_text(tmp_path, text_folder, tokenizer_folder):
    from transformers import GPT2TokenizerFast

    data = load("lm1b", "text", tmp_path, text_folder, tokenizer_folder, group=4)
    decoded = GPT2TokenizerFast.from_pretrained(tokenizer_folder).decode(data.test.tokens[0].tolist())
    assert "".join(SENTENCES["test"]).startswith(decoded) and len(decoded) >= 16


def test_evaluation_blocks_limit_validation_and_test_only(tmp_path, text_folder, tokenizer_folder):
    full = load("text", "text", tmp_path, text_folder, tokenizer_folder)
    limited = load("text", "text", tmp_path, text_folder, tokenizer_folder, evaluation_blocks=3)
    assert len(limited.train) == len(full.train) and len(limited.validation) == len(limited.test) == 3
    assert torch.equal(limited.test.tokens, full.test.tokens[:3])
    assert limited.checksum != full.checksum


def test_a_changed_file_changes_the_checksum_and_the_tokens(tmp_path, text_folder, tokenizer_folder):
    first = load("text", "text", tmp_path, text_folder, tokenizer_folder)
    (text_folder / "train.txt").write_text("something else entirely, that is long enough for a block\n")
    second = load("text", "text", tmp_path, text_folder, tokenizer_folder)
    assert first.checksum != second.checksum and len(second.train) < len(first.train)


class FakeRows:
    def __init__(self, rows):
        self.rows = rows

    def to_parquet(self, path):
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"text": self.rows}), path)


@pytest.fixture
def hub(monkeypatch):
    """The hub's answers, and what was asked of it."""
    asked = []

    def load_dataset(repository, *, data_dir, revision, split, cache_dir):
        asked.append((repository, data_dir, revision, split))
        return FakeRows(SENTENCES["test" if split.startswith("test") else "train"])

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    return asked


@pytest.mark.parametrize(("name", "where"), HUB_TEXT.items())
def test_the_hub_is_asked_once_and_only_if_allowed(tmp_path, hub, tokenizer_folder, name, where):
    with pytest.raises(FileNotFoundError, match=f"'{name}' has no train split.*{name}"):
        load(name, "hub", tmp_path, None, tokenizer_folder)
    assert hub == []
    data = load(name, "hub", tmp_path, None, tokenizer_folder, download=True)
    assert hub == [(where.repository, where.folder, where.revision, part) for part in where.splits]
    again = load(name, "hub", tmp_path, None, tokenizer_folder)
    assert again.checksum == data.checksum and len(hub) == 3


def test_an_unreachable_hub_says_what_belongs_where(tmp_path, monkeypatch, tokenizer_folder):
    def load_dataset(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(FileNotFoundError, match=r"could not fetch Salesforce/wikitext.*no network.*train.parquet"):
        load("wikitext-103", "hub", tmp_path, None, tokenizer_folder, download=True)


def test_a_missing_tokenizer_says_what_belongs_where(tmp_path, text_folder):
    with pytest.raises(FileNotFoundError, match=r"no tokenizer 'some/name'.*some--name.*vocab.json and merges.txt"):
        load("text", "text", tmp_path, text_folder, "some/name")


@pytest.mark.parametrize(
    ("name", "source", "options", "message"),
    [
        ("pydoc", "text", {}, "'pydoc' comes from: embedded"),
        ("pydoc", "embedded", {"tokens": 1}, "data.options.tokens: unknown key; allowed: block"),
        ("text", "npz", {}, "'text' comes from: text, parquet, hub"),
        ("lm1b", "text", {"blocks": 1}, "data.options.blocks: unknown key; did you mean 'block'"),
    ],
)
def test_wrong_sources_and_options_are_refused(tmp_path, name, source, options, message):
    with pytest.raises(ValueError, match=message):
        DATASETS[name](DataSpec(name, source, options=options), tmp_path, False)


def test_wikitext_validation_from_the_reference_files(shared, tmp_path, make_language):
    files = {split: "wikitext103_valid.txt.gz" for split in ("train", "validation", "test")}
    options = {"block": 1024, "tokenizer": str(shared / "data" / "gpt2_tokenizer"), "files": files}
    task = load_task(make_language(DataSpec("wikitext-103", "text", str(shared / "data"), options)), tmp_path)
    assert task.data.outputs == 50_257
    assert len(task.data.validation) == 240  # of 3,760 rows, four groups
    from transformers import GPT2TokenizerFast

    tokenizer = GPT2TokenizerFast.from_pretrained(shared / "data" / "gpt2_tokenizer")
    assert tokenizer.decode(task.data.validation.tokens[0, :12].tolist()).startswith(" = Homarus gammarus = \n")


def test_a_gated_tokenizer_says_how_to_get_it(tmp_path, monkeypatch):
    from transformers import AutoTokenizer

    def gated(name, *_, **__):
        raise OSError(f"You are trying to access a gated repo: {name}")

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", gated)
    with pytest.raises(FileNotFoundError, match=r"gated repo: a/llama.*accept its terms.*hf auth login.*a--llama"):
        load_tokenizer("a/llama", tmp_path, download=True)


@pytest.fixture
def fetched(monkeypatch, tokenizer_folder):
    """The hub's tokenizer, as a small one that notes how often it was asked for."""
    from transformers import AutoTokenizer, GPT2TokenizerFast

    asked = []

    def from_pretrained(name, *_, **__):
        asked.append(str(name))
        return GPT2TokenizerFast.from_pretrained(tokenizer_folder)

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", from_pretrained)
    return asked


def test_a_tokenizer_is_kept_whole_or_not_at_all(tmp_path, monkeypatch, fetched):
    from transformers import GPT2TokenizerFast

    save = GPT2TokenizerFast.save_pretrained
    kept = tmp_path / "tokenizers" / "own--tokenizer"

    def killed(self, folder, *_, **__):
        folder.mkdir()
        (folder / "tokenizer_config.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr(GPT2TokenizerFast, "save_pretrained", killed)
    with pytest.raises(KeyboardInterrupt):
        load_tokenizer("own/tokenizer", tmp_path, download=True)
    assert list(kept.parent.iterdir()) == []
    kept.mkdir()  # as a version that wrote in place would have left it
    (kept / "tokenizer_config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="own--tokenizer holds none"):
        load_tokenizer("own/tokenizer", tmp_path, download=False)
    monkeypatch.setattr(GPT2TokenizerFast, "save_pretrained", save)
    assert load_tokenizer("own/tokenizer", tmp_path, download=True)[1] > 256
    assert holds_tokenizer(kept) and list(kept.parent.iterdir()) == [kept]
    assert fetched[:2] == ["own/tokenizer"] * 2


def test_another_process_may_be_faster(tmp_path, monkeypatch, fetched, tokenizer_folder):
    from transformers import GPT2TokenizerFast

    save, kept = GPT2TokenizerFast.save_pretrained, tmp_path / "tokenizers" / "own--tokenizer"

    def meanwhile(self, folder, *args, **kwargs):
        shutil.copytree(tokenizer_folder, kept)
        return save(self, folder, *args, **kwargs)

    monkeypatch.setattr(GPT2TokenizerFast, "save_pretrained", meanwhile)
    load_tokenizer("own/tokenizer", tmp_path, download=True)
    assert {path.name for path in kept.iterdir()} == {path.name for path in tokenizer_folder.iterdir()}


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    (tmp_path / "vocab.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="holds neither tokenizer.json nor vocab.json and merges.txt"):
        load_tokenizer(str(tmp_path), tmp_path, download=False)
