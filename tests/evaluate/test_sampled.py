import math
from fractions import Fraction

import pytest
import torch

from nino.evaluate.sampled import CHANCE, chance, plan


def exactly(group: int, allowed: int, sampled: int, missed: int) -> Fraction:
    most = min(sampled, allowed)
    ways = sum(math.comb(allowed, x) * math.comb(group - allowed, sampled - x) for x in range(missed, most + 1))
    return Fraction(ways, math.comb(group, sampled))


@pytest.mark.parametrize(
    ("group", "allowed", "sampled", "missed"),
    [(4, 2, 2, 2), (1600, 1050, 256, 230), (4300, 3400, 640, 600), (10000, 3400, 128, 90), (500, 499, 128, 128)],
)
def test_a_chance_is_that_of_drawing_so_many_of_the_allowed_misses(group, allowed, sampled, missed) -> None:
    assert chance(group, allowed, sampled, missed) == pytest.approx(float(exactly(group, allowed, sampled, missed)))


@pytest.mark.parametrize("sampled", [1, 128, 400])
def test_fewer_misses_than_allowed_make_a_sample_less_likely(sampled) -> None:
    missed = round(0.9 * sampled)
    chances = [chance(1600, allowed, sampled, missed) for allowed in range(800, 1601, 100)]
    assert chances == sorted(chances)


def test_a_planned_sample_that_comes_out_as_foreseen_is_enough() -> None:
    torch.manual_seed(0)
    for allowed in (50, 1050, 3400):
        rates = torch.rand(10000).sort(descending=True).values
        group, sample = plan(rates, allowed)
        size = math.ceil(sample)
        share = float(rates[:group].mean())
        assert allowed < group <= 10000
        assert chance(group, allowed, size, math.ceil(share * size)) <= CHANCE


def test_of_all_groups_the_one_with_the_smallest_sample_is_planned() -> None:
    rates = torch.linspace(1, 0, 2000)
    group, sample = plan(rates, 600)
    assert all(plan(rates[:size], 600)[1] >= sample for size in range(601, 2000, 50))
    assert plan(rates[:group], 600) == (group, sample)


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_too_few_misses_foreseen_plan_no_sample(rate) -> None:
    assert plan(torch.full((1000,), rate), 300)[1] == math.inf


def test_a_chance_of_one_error_in_ten_is_met() -> None:
    """Of groups in which just the allowed images are missed, no more than a tenth look so unlikely."""
    torch.manual_seed(0)
    missed = torch.arange(400) < 300
    ruled_out = sum(chance(400, 300, 60, int(missed[torch.randperm(400)[:60]].sum())) < 0.1 for _ in range(2000))
    assert 0.02 * 2000 < ruled_out < 0.1 * 2000 + 3 * math.sqrt(2000 * 0.09)
