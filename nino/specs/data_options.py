"""Options of the data sets: what only one of them knows, and where each may come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from nino.specs.base import Spec
from nino.specs.values import Allowed, Count, Probability, Seed, Several, Text, Word

Files = Annotated[str | tuple[str, ...], Allowed()]
Columns = Annotated[tuple[Text, ...], Allowed(min_length=1, unique=True)]


@dataclass(frozen=True)
class NoOptions(Spec):
    """A data set without options."""


@dataclass(frozen=True)
class PydocOptions(Spec):
    """Options of the data set pydoc.

    Args:
        block: length of a block, the context of the language model [tokens].
    """

    block: Several = 64


@dataclass(frozen=True)
class ImagenetOptions(Spec):
    """Options of the data set imagenet32.

    Args:
        held_back: training images held back as validation split [images].
        repository: name on the hub, for source hub [name].
    """

    held_back: Count = 10_000
    repository: Text = "ILSVRC/imagenet-1k"


@dataclass(frozen=True)
class SplitFiles(Spec):
    """File name, or names, of each split relative to path.

    Args:
        train: file or files of the train split, relative to path [file name; default train*].
        validation: file or files of the validation split, relative to path [file name; default validation*].
        test: file or files of the test split, relative to path [file name; default test*].
    """

    train: Files | None = None
    validation: Files | None = None
    test: Files | None = None


@dataclass(frozen=True)
class Cut(Spec):
    """How much of the training split becomes the validation and the test split, where these have no files of their own.

    Args:
        validation: share of the validation split, if it has no files [fraction].
        test: share of the test split, if it has no files [fraction].
    """

    validation: Probability = 0.1
    test: Probability = 0.1


@dataclass(frozen=True)
class Draw(Cut):
    """The same, drawn at random, every class by itself.

    Args:
        seed: of the draw [number].
    """

    seed: Seed = 0


@dataclass(frozen=True)
class HubSplits(Spec):
    """What a data set of the hub calls its splits, or parts of them, as its library writes them: train[:90%].

    Args:
        train: the train split [name].
        validation: the validation split [name; default validation, valid, val or dev, else a part of train].
        test: the test split [name; default test, else a part of train].
    """

    train: Text = "train"
    validation: Text | None = None
    test: Text | None = None


@dataclass(frozen=True)
class HubOptions(Spec):
    """Options of every data set that may come from the hub under a name.

    Args:
        repository: name on the hub, or a local folder that the library datasets reads [name or path; default none].
        subset: which of the repository's configurations [name; default its only one].
        revision: branch, tag or commit of the repository [name; default its main branch].
        splits: what the repository calls the splits.
    """

    repository: Text | None = None
    subset: Text | None = None
    revision: Text | None = None
    splits: HubSplits = field(default_factory=HubSplits)


@dataclass(frozen=True)
class TextOptions(Spec):
    """Options of the data sets of tokenized text: lm1b, wikitext-103 and text.

    Args:
        block: length of a block, the context of the language model [tokens].
        tokenizer: local folder with vocab.json and merges.txt (or tokenizer.json), a name on the hub, or bytes, which
            needs no files: the text's UTF-8 bytes [path or name].
        group: rows concatenated before blocks are cut, the rest of each group is dropped [rows].
        evaluation_blocks: use no more than the first blocks of the validation and of the test split
            [blocks; default all].
    """

    block: Several = 1024
    tokenizer: Word = "openai-community/gpt2"
    group: Count = 1000
    evaluation_blocks: Count | None = None
    files: SplitFiles = field(default_factory=SplitFiles)


@dataclass(frozen=True)
class UserTextOptions(HubOptions, TextOptions):
    """Options of the data set text.

    Args:
        column: of Parquet files and of the hub: which holds the text [name].
        cut: how a text that has no splits is cut into consecutive parts: train, validation, test.
    """

    column: Text = "text"
    cut: Cut = field(default_factory=Cut)


@dataclass(frozen=True)
class ImagesOptions(HubOptions):
    """Options of the data set images.

    Args:
        size: side to which images are resized, whatever their shape [pixels; default as they are, all of one size].
        colours: rgb, three channels, or grey, one [name].
        image: column of Parquet files and of the hub that holds the images [name].
        label: column of Parquet files and of the hub that holds the classes [name].
        files: names of Parquet files of splits.
        draw: how images without splits are split.
    """

    size: Count | None = None
    colours: Annotated[str, Allowed(names=("rgb", "grey"))] = "rgb"
    image: Text = "image"
    label: Text = "label"
    files: SplitFiles = field(default_factory=SplitFiles)
    draw: Draw = field(default_factory=Draw)


@dataclass(frozen=True, kw_only=True)
class TableOptions(HubOptions):
    """Options of the data set table.

    Args:
        target: column that is to be predicted, or several, for numbers [name].
        predict: class, with labels of any type, or number [name].
        features: columns that it is predicted from [names; default all others].
        categorical: columns of numbers that name categories; columns of text always do [names; default none].
        encoding: of categories: one-hot, a feature of 0 and 1 each, or codes, their number in sorted order [name].
        missing: what to do about missing values: error, drop the row, or fill with the training split's mean; a missing
            category is then one of its own [name].
        standardise: what gets mean 0 and deviation 1 in the training split: features (numbers and codes), all (the
            numbers to predict, too) or none [name].
        files: file names of splits that are files of their own.
        draw: how rows without splits are split.
    """

    target: Files
    predict: Annotated[str, Allowed(names=("class", "number"))] = "class"
    features: Columns | None = None
    categorical: Columns | None = None
    encoding: Annotated[str, Allowed(names=("one-hot", "codes"))] = "one-hot"
    missing: Annotated[str, Allowed(names=("error", "drop", "fill"))] = "error"
    standardise: Annotated[str, Allowed(names=("features", "all", "none"))] = "features"
    files: SplitFiles = field(default_factory=SplitFiles)
    draw: Draw = field(default_factory=Draw)


DATA_OPTIONS: dict[str, type[Spec]] = {
    "cifar10": NoOptions,
    "cifar100": NoOptions,
    "digits": NoOptions,
    "fashion-mnist": NoOptions,
    "imagenet32": ImagenetOptions,
    "images": ImagesOptions,
    "lm1b": TextOptions,
    "pydoc": PydocOptions,
    "table": TableOptions,
    "text": UserTextOptions,
    "wikitext-103": TextOptions,
}
SOURCES: dict[str, tuple[str, ...]] = {
    "cifar10": ("torchvision", "npz"),
    "cifar100": ("torchvision", "npz"),
    "digits": ("embedded",),
    "fashion-mnist": ("torchvision", "npz"),
    "imagenet32": ("npz", "folder", "hub"),
    "images": ("npz", "folder", "parquet", "hub"),
    "lm1b": ("hub", "parquet", "text"),
    "pydoc": ("embedded",),
    "table": ("csv", "parquet", "hub"),
    "text": ("text", "parquet", "hub"),
    "wikitext-103": ("hub", "parquet", "text"),
}
USER_DATA = ("images", "table", "text")
"""Data sets whose content a user brings."""
SUFFIXES = {
    "csv": (".csv", ".csv.gz", ".tsv", ".tsv.gz"),
    "parquet": (".parquet",),
    "text": (".txt", ".txt.gz"),
}
"""What local files of a source end in."""
