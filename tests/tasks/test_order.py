import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nino.tasks import BatchOrder


@given(size=st.integers(1, 40), seed=st.integers(0, 3), data=st.data())
def test_an_epoch_sees_no_example_twice_and_drops_the_partial_batch(size, seed, data):
    batch_size = data.draw(st.integers(1, size))
    order = BatchOrder(size, batch_size, seed)
    for epoch in range(2):
        first = epoch * order.steps_per_epoch
        seen = torch.cat([order.indices(first + i) for i in range(order.steps_per_epoch)])
        assert len(seen) == size // batch_size * batch_size
        assert len(seen.unique()) == len(seen)
        assert seen.min() >= 0 and seen.max() < size


def test_seeking_is_iterating():
    iterated = [BatchOrder(10, 3, seed=5).indices(step) for step in range(12)]
    order = BatchOrder(10, 3, seed=5)
    for step in (11, 0, 4, 3, 7, 2):
        assert torch.equal(order.indices(step), iterated[step])


def test_seeds_and_epochs_differ():
    order = BatchOrder(50, 50, seed=1)
    assert torch.equal(order.indices(0), BatchOrder(50, 50, seed=1).indices(0))
    assert not torch.equal(order.indices(0), order.indices(1))
    assert not torch.equal(order.indices(0), BatchOrder(50, 50, seed=2).indices(0))


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    BatchOrder(10, 2, seed=0).indices(7)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("batch_size", [0, 11])
def test_a_batch_that_does_not_fit_is_refused(batch_size):
    with pytest.raises(ValueError, match=f"`batch_size` is {batch_size}.*10 examples"):
        BatchOrder(10, batch_size, seed=0)
