import math

import pytest
import torch

from nino.evaluate.target.sequential_test import ERROR_PROBABILITY, LARGEST_LOSS, SequentialTest

N = 2000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(missed: int, seed: int = 0) -> torch.Tensor:
    """(N,) of 0 and 1, that many of them 1."""
    return (torch.randperm(N, generator=generator(seed)) < missed).float()


def random_rates(seed: int = 0) -> torch.Tensor:
    return torch.rand(N, generator=generator(seed)).clamp(0.02, 0.98)


def looks_to_win(
    rates, missed, allowed: int, seed: int = 0, part: int = 50, error_probability: float = ERROR_PROBABILITY
) -> float:
    """Images looked at until a test is won; infinite where there is nothing left to bet on before it is."""
    test, source, unseen = SequentialTest(error_probability), generator(seed), torch.ones(N, dtype=torch.bool)
    while len(others := unseen.nonzero().squeeze(1)):
        left = allowed - int(missed[~unseen].sum())
        if not test.set_forecast(rates[others], left):
            return math.inf
        drawn = test.draw(part, source)
        if test.update(drawn, missed[others[drawn]]):
            return N - len(others) + len(drawn.unique())
        unseen[others[drawn]] = False
    return math.inf


@pytest.mark.parametrize("missed", [0, 300, 1000, N])
def test_a_draw_gains_what_is_missed_beyond_the_allowed_in_the_mean(missed) -> None:
    test = SequentialTest()
    test.set_forecast(random_rates(), allowed=700)
    everyone = torch.arange(N)
    gains = test.gains(everyone, images(missed, 1))
    # a draw's chance is the inverse of n times its weight, which one more miss shows
    more = test.gains(everyone, torch.ones(N)) - test.gains(everyone, torch.zeros(N))
    assert float((gains / (N * more)).sum()) == pytest.approx((missed - 700) / N, abs=1e-12)


def test_no_draw_takes_more_of_the_capital_than_may_be_risked() -> None:
    for allowed in (50, 700, 1900):
        test = SequentialTest()
        test.set_forecast(random_rates(), allowed)
        for missed in (torch.zeros(N), torch.ones(N)):
            assert bool((1 + test._stake * test.gains(torch.arange(N), missed) >= 1 - LARGEST_LOSS - 1e-12).all())


@pytest.mark.parametrize("foreseen", ["well", "too high", "nothing", "the wrong ones"])
def test_a_claim_that_holds_is_seldom_bet_against_with_success(foreseen) -> None:
    missed = images(700)
    rates = {
        "well": missed + 0.05,
        "too high": missed * 0.5 + 0.5,
        "nothing": torch.full((N,), 0.9),
        "the wrong ones": 1.3 - missed,
    }[foreseen].clamp(0.02, 0.98)
    tries = 300
    won = sum(math.isfinite(looks_to_win(rates, missed, 700, seed, error_probability=0.1)) for seed in range(tries))
    assert won <= 0.1 * tries + 3 * math.sqrt(tries * 0.09)


def test_well_foreseen_rates_win_after_a_part_of_the_images() -> None:
    rates = random_rates(3) ** 2
    rates = rates.clamp(0.02)
    missed = torch.bernoulli(rates, generator=generator(4))
    looks = {
        share: sorted(looks_to_win(rates, missed, round(share * float(missed.sum())), s) for s in range(11))[5]
        for share in (0.2, 0.5, 0.8)
    }
    assert looks[0.2] < 0.1 * N
    assert looks[0.2] < looks[0.5] < looks[0.8] < 0.8 * N


def test_better_foresight_takes_fewer_looks() -> None:
    missed = images(1000)
    sharp = [looks_to_win(missed * 0.9 + 0.05, missed, 800, seed) for seed in range(9)]
    blunt = [looks_to_win(torch.full((N,), 0.5), missed, 800, seed) for seed in range(9)]
    assert sorted(sharp)[4] < 0.5 * sorted(blunt)[4]


@pytest.mark.parametrize("rate", [0.02, 0.3])
def test_too_few_misses_foreseen_are_not_bet_on(rate) -> None:
    assert not SequentialTest().set_forecast(torch.full((N,), rate), 700)


def test_rates_that_draws_show_too_high_are_no_longer_bet_on() -> None:
    test = SequentialTest()
    rates = torch.full((N,), 0.5)
    assert test.set_forecast(rates, 900)
    for _ in range(20):
        drawn = test.draw(50, generator())
        assert not test.update(drawn, torch.zeros(50))
    assert not test.set_forecast(rates, 900)


def test_a_sure_thing_is_won_and_a_hopeless_one_lost() -> None:
    rates = torch.full((N,), 0.9)
    assert looks_to_win(rates, torch.ones(N), 0) <= 400
    assert looks_to_win(rates, torch.ones(N), N) == math.inf
