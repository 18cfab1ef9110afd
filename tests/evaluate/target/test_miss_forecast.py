import pytest
import torch

from nino.evaluate.target.miss_forecast import SMALLEST_RATE, MissForecast

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


def check(forecast: MissForecast, scores: torch.Tensor, images: torch.Tensor) -> None:
    forecast.begin()
    for part in images.split(250):
        forecast.update(part, scores[part])


def test_nothing_is_known_before_the_first_look(labels) -> None:
    forecast = MissForecast(labels, CLASSES)
    forecast.begin()
    assert forecast.rates(torch.arange(N)).tolist() == pytest.approx([0.5] * N)


def test_what_was_just_seen_is_forecast(labels, scores) -> None:
    forecast = MissForecast(labels, CLASSES)
    for _ in range(60):  # so many parts show that scores hardly change
        check(forecast, scores, torch.arange(N))
    forecast.begin()
    rates = forecast.rates(torch.arange(N))
    assert float(((rates > 0.5).float() == misses(scores, labels)).float().mean()) > 0.99
    assert float(((rates - misses(scores, labels)).abs() <= SMALLEST_RATE + 1e-6).float().mean()) > 0.9


def test_a_change_of_whole_classes_is_seen_in_a_few_images(labels, scores) -> None:
    forecast = MissForecast(labels, CLASSES)
    check(forecast, scores, torch.arange(N))
    changed = scores + torch.linspace(-3, 3, CLASSES)
    order = torch.randperm(N, generator=generator(2))
    check(forecast, changed, order[:200])
    expected = forecast.rates(order[200:]) > 0.5
    missed = misses(changed, labels)[order[200:]]
    stale = misses(scores, labels)[order[200:]]
    assert float((expected.float() != missed).float().mean()) < 0.1 * float((stale != missed).float().mean())
    forecast.begin()  # what was not looked at has moved for the checks to come, too
    assert float(((forecast.rates(order) > 0.5).float() != misses(changed, labels)[order]).float().mean()) < 0.02


def test_rates_hold_what_they_say(labels, scores) -> None:
    forecast, noise = MissForecast(labels, CLASSES), generator(5)
    for _ in range(40):
        scores = scores + 0.3 * torch.randn(N, CLASSES, generator=noise)
        check(forecast, scores, torch.randperm(N, generator=noise)[:1500])
    scores = scores + 0.3 * torch.randn(N, CLASSES, generator=noise)
    forecast.begin()
    rates, missed = forecast.rates(torch.arange(N)), misses(scores, labels)
    for low, high in ((0.05, 0.35), (0.35, 0.65), (0.65, 0.95)):
        inside = (rates > low) & (rates < high)
        assert float(missed[inside].mean()) == pytest.approx(float(rates[inside].mean()), abs=0.1)


def test_longer_unseen_is_less_certain(labels, scores) -> None:
    forecast, noise = MissForecast(labels, CLASSES), generator(6)
    for images in 10 * [torch.arange(N)] + 10 * [torch.arange(N // 2)]:
        scores = scores + 0.3 * torch.randn(N, CLASSES, generator=noise)
        check(forecast, scores, images)
    forecast.begin()
    doubt = 0.5 - (forecast.rates(torch.arange(N)) - 0.5).abs()
    assert float(doubt[N // 2 :].mean()) > 1.5 * float(doubt[: N // 2].mean())


def test_state_round_trip_within_and_between_checks(labels, scores) -> None:
    forecast, again = MissForecast(labels, CLASSES), MissForecast(labels, CLASSES)
    check(forecast, scores, torch.arange(N))
    check(forecast, scores + torch.linspace(-1, 1, CLASSES), torch.arange(300))
    again.load_state_dict({name: value.clone() for name, value in forecast.state_dict().items()})
    for one in (forecast, again):
        one.begin()
    assert torch.equal(forecast.rates(torch.arange(N)), again.rates(torch.arange(N)))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 3e38])
def test_scores_that_are_not_finite_leave_rates_finite(labels, scores, bad) -> None:
    forecast = MissForecast(labels, CLASSES)
    check(forecast, torch.full_like(scores, bad), torch.arange(500))
    assert bool(forecast.rates(torch.arange(500, N)).isfinite().all())
    check(forecast, scores, torch.arange(N))
    forecast.begin()
    assert bool(forecast.rates(torch.arange(N)).isfinite().all())
