"""What every data set must be, as checks on a loaded one; the tests and ``nino check`` run them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves

from nino.contracts import attempt
from nino.specs.local_files import SPLITS
from nino.tasks.data import Batch, Data, Split

Load = Callable[[], Data]
PIECE = 4096  # examples looked at together
LOSSES = ("cross_entropy", "mse")
KINDS = ("vision", "language", "table")


def violations(load: Load) -> list[str]:
    """Check that a data set is what `nino.tasks.Data` promises.

    Args:
        load: reads it, the same every time.

    Returns:
        A sentence per violation: the check and what it saw; empty if there is none.
    """
    try:
        data = load()
    except Exception as error:  # whatever a foreign function raises is a finding, not the end of the check
        return [f"load: {type(error).__name__}: {error}"]
    if form := list(_form(data)):
        return form  # the other checks rely on it
    sentences: list[str] = []
    for check in (_examples, _loss, _selects):
        if sentences:
            break  # what is not finite equals nothing, and labels out of range have no loss
        sentences += attempt(check, data)
    return sentences + attempt(_repeatable, data, load)


def shared_examples(data: Data) -> list[str]:
    """Examples that stand in two splits: no error, but a target that is checked on training examples means little.

    Args:
        data: a data set whose form is right.

    Returns:
        A sentence per pair of splits that share some, with their number.
    """
    seen = {split: _digests(data.split(split)) for split in SPLITS}
    sentences = []
    for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
        both = seen[first].keys() & seen[second].keys()
        if both:
            sentences.append(
                f"{sum(seen[second][each] for each in both):,} of {len(data.split(second)):,} examples of {second} are "
                f"in {first}, too: what is measured on {second} says less; remove them from one of the two"
            )
    return sentences


def _form(data: Data) -> Iterator[str]:
    """Kind, loss, sizes and shapes are those of a data set."""
    if data.kind not in KINDS:
        yield f"form: kind is {data.kind!r}; allowed are {', '.join(KINDS)}"
    if data.loss not in LOSSES:
        yield f"form: loss is {data.loss!r}; allowed are {', '.join(LOSSES)}"
    if data.outputs < (1 if data.loss == "mse" else 2):
        yield f"form: outputs is {data.outputs}; for {data.loss} give at least {1 if data.loss == 'mse' else 2}"
    for split in SPLITS:
        if len(data.split(split)) == 0:
            yield f"form: the {split} split is empty"
            return
        count = min(2, len(data.split(split)))
        if data.kind == "language":
            sizes: list[tuple[tuple[int, ...], torch.dtype]] = [((count, data.shape[0] - 1), torch.long)] * 2
        else:
            numbers = ((count, data.outputs), torch.float32)
            sizes = [((count, *data.shape), torch.float32), numbers if data.loss == "mse" else ((count,), torch.long)]
        for what, found, (size, dtype) in zip(("inputs", "targets"), data.split(split).slice(0, 2), sizes, strict=True):
            if what == "inputs" and not isinstance(found, Tensor):
                continue  # several tensors, of which only the model knows what they are
            if tuple(found.shape) != size or found.dtype != dtype:
                yield (
                    f"form: {split}: {what} of {count} examples are {found.dtype} {tuple(found.shape)}; by kind, "
                    f"shape, outputs and loss they must be {dtype} {size}"
                )


def _examples(data: Data) -> Iterator[str]:
    """All numbers are finite, and all labels and tokens in range."""
    for split in SPLITS:
        for batch in _pieces(data.split(split)):
            for what, found in _tensors(batch):
                if found.is_floating_point() and not found.isfinite().all():
                    bad = int((~found.isfinite()).sum())
                    yield f"examples: {split}: {bad:,} of {found.numel():,} {what} in a piece are not finite"
                    return
                if not found.is_floating_point() and not ((found >= 0) & (found < data.outputs)).all():
                    yield (
                        f"examples: {split}: {what} range from {int(found.min())} to {int(found.max())}; must "
                        f"be 0 to {data.outputs - 1}, by outputs"
                    )
                    return


def _loss(data: Data) -> Iterator[str]:
    """Outputs of the right shape and a batch's targets give a finite loss."""
    _, targets = data.train.slice(0, 8)
    if data.loss == "mse":
        loss = F.mse_loss(torch.zeros(targets.shape), targets)
    else:
        loss = F.cross_entropy(torch.zeros(targets.numel(), data.outputs), targets.flatten())
    if not bool(loss.isfinite()):
        yield f"loss: {data.loss} of zeros is {float(loss)}"


def _selects(data: Data) -> Iterator[str]:
    """``select`` gives the examples that ``slice`` gives, in the order asked for, and leaves them as they are."""
    for split in SPLITS:
        part = data.split(split)
        count = min(5, len(part))
        whole = [each.clone() for _, each in _tensors(part.slice(0, count))]
        order = torch.arange(count).flip(0)
        picked = [each for _, each in _tensors(part.select(order))]
        again = [each for _, each in _tensors(part.slice(0, count))]
        if not all(torch.equal(a[order], b) for a, b in zip(whole, picked, strict=True)):
            yield f"select: {split}: select([{count - 1}, ..., 0]) gives other examples than slice(0, {count})"
        if not all(torch.equal(a, b) for a, b in zip(whole, again, strict=True)):
            yield f"select: {split}: examples are others when they are asked for again; leave chance to the order"


def _repeatable(data: Data, load: Load) -> Iterator[str]:
    """Loading again gives the same checksums."""
    again = load()
    if again.checksum != data.checksum:
        yield "repeatable: loaded again, checksum is another; draw splits and noise with a fixed seed"
    for split in SPLITS:
        if again.split(split).digest() != data.split(split).digest():
            yield f"repeatable: loaded again, the {split} split is another; draw splits and noise with a fixed seed"


def _tensors(batch: Batch) -> list[tuple[str, Tensor]]:
    """The tensors of a batch, and what each is; a model's inputs may be several."""
    inputs, targets = batch
    return [*(("inputs", tensor) for tensor in tree_leaves(inputs)), ("targets", targets)]


def _pieces(split: Split) -> Iterator[Batch]:
    for start in range(0, len(split), PIECE):
        yield split.slice(start, start + PIECE)


def _digests(split: Split) -> dict[bytes, int]:
    """How often each example, inputs and targets, stands in a split, by a digest of its bytes."""
    counts: dict[bytes, int] = {}
    for batch in _pieces(split):
        for row in zip(*(_bytes(tensor) for _, tensor in _tensors(batch)), strict=True):
            digest = hashlib.blake2b(b"".join(row), digest_size=16).digest()
            counts[digest] = counts.get(digest, 0) + 1
    return counts


def _bytes(tensor: Tensor) -> list[bytes]:
    rows = np.ascontiguousarray(tensor.cpu().numpy())
    return [row.tobytes() for row in rows]
