import math

import pytest
import torch

from nino.evaluate.bet import CHANCE, RISK, Bet

N = 2000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(missed: int, seed: int = 0) -> torch.Tensor:
    """(N,) of 0 and 1, that many of them 1."""
    return (torch.randperm(N, generator=generator(seed)) < missed).float()


def draws_to_win(bet: Bet, missed: torch.Tensor, seed: int, most: int, part: int = 50) -> float:
    """Draws after which a bet is won; infinite where it is not after ``most``."""
    source = generator(seed)
    for done in range(part, most + 1, part):
        drawn = bet.draw(part, source)
        if bet.settle(drawn, missed[drawn]):
            return done
    return math.inf


@pytest.mark.parametrize("missed", [0, 300, 1000, N])
def test_a_draw_gains_what_is_missed_beyond_the_allowed_in_the_mean(missed) -> None:
    bet = Bet(torch.rand(N, generator=generator()), allowed=700)
    everyone = torch.arange(N)
    gains = bet.gains(everyone, images(missed, 1))
    # a draw's chance is the inverse of n times its weight, which one more miss shows
    more = bet.gains(everyone, torch.ones(N)) - bet.gains(everyone, torch.zeros(N))
    assert float((gains / (N * more)).sum()) == pytest.approx((missed - 700) / N, abs=1e-12)


def test_no_draw_takes_more_of_the_capital_than_may_be_risked() -> None:
    for allowed in (50, 700, 1900):
        bet = Bet(torch.rand(N, generator=generator()), allowed)
        for missed in (torch.zeros(N), torch.ones(N)):
            everyone = torch.arange(N)
            assert bool((1 + bet._stake() * bet.gains(everyone, missed) >= 1 - RISK - 1e-12).all())


@pytest.mark.parametrize("foreseen", ["well", "too high", "nothing", "the wrong ones"])
def test_a_claim_that_holds_is_seldom_bet_against_with_success(foreseen) -> None:
    missed = images(700)
    rates = {
        "well": missed + 0.05,
        "too high": missed * 0.5 + 0.5,
        "nothing": torch.full((N,), 0.9),
        "the wrong ones": 1.3 - missed,
    }[foreseen].clamp(0, 1)
    tries = 300
    won = sum(math.isfinite(draws_to_win(Bet(rates, 700, chance=0.1), missed, seed, 600)) for seed in range(tries))
    assert won <= 0.1 * tries + 3 * math.sqrt(tries * 0.09)


def test_well_foreseen_rates_win_in_the_draws_that_are_foreseen() -> None:
    rates = torch.rand(N, generator=generator(3)) ** 2
    missed = torch.bernoulli(rates, generator=generator(4))
    for share in (0.5, 0.7, 0.8):
        bet = Bet(rates, round(share * float(missed.sum())))
        most = bet.draws
        found = [draws_to_win(Bet(rates, round(share * float(missed.sum()))), missed, s, 20000) for s in range(20)]
        assert 0.3 * most < sorted(found)[10] < 2 * most + 50


def test_better_foresight_takes_fewer_draws() -> None:
    missed = images(1000)
    sharp, blunt = Bet(missed * 0.9 + 0.05, 800), Bet(torch.full((N,), 0.5), 800)
    assert sharp.draws < 0.5 * blunt.draws


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_too_few_misses_foreseen_are_not_bet_on(rate) -> None:
    assert Bet(torch.full((N,), rate), 700).draws == math.inf


def test_a_sure_thing_is_won_and_a_hopeless_one_lost() -> None:
    rates = torch.full((N,), 0.9)
    assert draws_to_win(Bet(rates, 0, CHANCE), torch.ones(N), 0, 400) < math.inf
    assert draws_to_win(Bet(rates, N, CHANCE), torch.ones(N), 0, 400) == math.inf
