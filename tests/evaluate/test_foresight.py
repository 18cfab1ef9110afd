import pytest
import torch

from nino.evaluate.foresight import EDGE, Foresight

N, CLASSES = 3000, 10


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def labels() -> torch.Tensor:
    return torch.randint(CLASSES, (N,), generator=generator())


@pytest.fixture
def scores() -> torch.Tensor:
    return 2 * torch.randn(N, CLASSES, generator=generator(1))


def misses(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return (scores.argmax(1) != labels).float()


def check(known: Foresight, scores: torch.Tensor, images: torch.Tensor) -> None:
    known.begin()
    for part in images.split(250):
        known.take(part, scores[part])


def test_nothing_is_known_before_the_first_look(labels) -> None:
    known = Foresight(labels, CLASSES)
    known.begin()
    assert known.rates(torch.arange(N)).tolist() == pytest.approx([0.5] * N)


def test_what_was_just_seen_is_foreseen(labels, scores) -> None:
    known = Foresight(labels, CLASSES)
    for _ in range(60):  # so many parts show that scores hardly change
        check(known, scores, torch.arange(N))
    known.begin()
    rates = known.rates(torch.arange(N))
    assert float(((rates > 0.5).float() == misses(scores, labels)).float().mean()) > 0.99
    assert float(((rates - misses(scores, labels)).abs() <= EDGE + 1e-6).float().mean()) > 0.9


def test_a_change_of_whole_classes_is_seen_in_a_few_images(labels, scores) -> None:
    known = Foresight(labels, CLASSES)
    check(known, scores, torch.arange(N))
    changed = scores + torch.linspace(-3, 3, CLASSES)
    order = torch.randperm(N, generator=generator(2))
    check(known, changed, order[:200])
    foreseen = known.rates(order[200:]) > 0.5
    missed = misses(changed, labels)[order[200:]]
    stale = misses(scores, labels)[order[200:]]
    assert float((foreseen.float() != missed).float().mean()) < 0.1 * float((stale != missed).float().mean())
    known.begin()  # what was not looked at has moved for the checks to come, too
    assert float(((known.rates(order) > 0.5).float() != misses(changed, labels)[order]).float().mean()) < 0.02


def test_rates_hold_what_they_say(labels, scores) -> None:
    known, noise = Foresight(labels, CLASSES), generator(5)
    for _ in range(40):
        scores = scores + 0.3 * torch.randn(N, CLASSES, generator=noise)
        check(known, scores, torch.randperm(N, generator=noise)[:1500])
    scores = scores + 0.3 * torch.randn(N, CLASSES, generator=noise)
    known.begin()
    rates, missed = known.rates(torch.arange(N)), misses(scores, labels)
    for low, high in ((0.05, 0.35), (0.35, 0.65), (0.65, 0.95)):
        inside = (rates > low) & (rates < high)
        assert float(missed[inside].mean()) == pytest.approx(float(rates[inside].mean()), abs=0.1)


def test_longer_unseen_is_less_certain(labels, scores) -> None:
    known, noise = Foresight(labels, CLASSES), generator(6)
    for images in 10 * [torch.arange(N)] + 10 * [torch.arange(N // 2)]:
        scores = scores + 0.3 * torch.randn(N, CLASSES, generator=noise)
        check(known, scores, images)
    known.begin()
    doubt = 0.5 - (known.rates(torch.arange(N)) - 0.5).abs()
    assert float(doubt[N // 2 :].mean()) > 1.5 * float(doubt[: N // 2].mean())


def test_state_round_trip_within_and_between_checks(labels, scores) -> None:
    known, again = Foresight(labels, CLASSES), Foresight(labels, CLASSES)
    check(known, scores, torch.arange(N))
    check(known, scores + torch.linspace(-1, 1, CLASSES), torch.arange(300))
    again.load_state_dict({name: value.clone() for name, value in known.state_dict().items()})
    for one in (known, again):
        one.begin()
    assert torch.equal(known.rates(torch.arange(N)), again.rates(torch.arange(N)))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 3e38])
def test_scores_that_are_not_finite_leave_rates_finite(labels, scores, bad) -> None:
    known = Foresight(labels, CLASSES)
    check(known, torch.full_like(scores, bad), torch.arange(500))
    assert bool(known.rates(torch.arange(500, N)).isfinite().all())
    check(known, scores, torch.arange(N))
    known.begin()
    assert bool(known.rates(torch.arange(N)).isfinite().all())
