import numpy as np
import pytest
import torch

from nino.tasks import Blocks, Images
from nino.tasks.data import channel_statistics, image_data, joint_digest


def images(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (n, 3, 4, 5), dtype=torch.uint8, generator=generator)
    return pixels, torch.randint(0, 7, (n,), generator=generator)


def test_images_are_normalised_with_the_training_statistics():
    data = image_data(images(50), images(10, 1), images(20, 2), 7, {})
    x, y = data.train.slice(0, 50)
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3), correction=0), torch.ones(3))
    raw, labels = images(20, 2)
    expected = (raw.double() - images(50)[0].double().mean((0, 2, 3), keepdim=True)) / images(50)[0].double().std(
        (0, 2, 3), keepdim=True, correction=0
    )
    x, y = data.test.select(torch.tensor([3, 1]))
    torch.testing.assert_close(x, expected[[3, 1]].float())
    assert torch.equal(y, labels[[3, 1]])


def test_normalising_leaves_the_raw_images():
    data = image_data(images(5), images(5), images(5), 7, {})
    data.train.slice(0, 5)
    assert torch.equal(data.train.raw, images(5)[0])


def test_channel_statistics_equal_numpys():
    values = np.random.default_rng(0).integers(0, 256, (10, 6, 6), dtype=np.uint8)
    mean, std = channel_statistics(torch.from_numpy(values))
    assert (mean, std) == pytest.approx((values.mean(), values.std()), rel=1e-12)


def test_a_block_predicts_its_own_next_tokens():
    blocks = Blocks(torch.tensor([[1, 2, 3], [4, 5, 6]], dtype=torch.uint8))
    inputs, targets = blocks.select(torch.tensor([1]))
    assert inputs.tolist() == [[4, 5]] and targets.tolist() == [[5, 6]]
    assert inputs.dtype == targets.dtype == torch.long


def test_large_token_ids_survive_two_bytes():
    blocks = Blocks(torch.from_numpy(np.array([[0, 40_000, 65_535]], dtype=np.uint16)))
    assert blocks.slice(0, 1)[1].tolist() == [[40_000, 65_535]]
    assert blocks.select(torch.tensor([0]))[1].tolist() == [[40_000, 65_535]]


def test_the_digest_sees_values_labels_order_and_shape():
    raw, labels = images(6)
    one = torch.ones(3, 1, 1)
    base = Images(raw, labels, one, one)
    assert base.digest() == Images(raw.clone(), labels.clone(), 2 * one, one).digest()
    changed = raw.clone()
    changed[0, 0, 0, 0] += 1
    others = [
        Images(changed, labels, one, one),
        Images(raw, labels.flip(0), one, one),
        Images(raw[:5], labels[:5], one, one),
    ]
    assert len({base.digest(), *(other.digest() for other in others)}) == 4
    assert joint_digest(base, others[0]) != joint_digest(others[0], base)


def test_an_unknown_split_is_refused():
    data = image_data(images(5), images(5), images(5), 7, {})
    with pytest.raises(ValueError, match="`split` is 'valid'; allowed are 'train', 'validation' and 'test'"):
        data.split("valid")
