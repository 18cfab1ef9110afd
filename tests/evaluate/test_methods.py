from pathlib import Path

import pytest
import torch

from nino.evaluate.methods import method_nowcaster, nowcaster_file, rescale, start_training
from nino.evaluate.oracle import Oracle
from nino.graphs import neural_graph
from nino.nowcasters import NOWCASTERS, WNN, Divided, NiNoNet, SampledEdges, build_nowcaster, save_nowcaster
from nino.specs import MethodSpec, ScheduleSpec
from tests.nowcasters.helpers import lively


def method(nowcaster: str, **fields) -> MethodSpec:
    return MethodSpec(nowcaster, nowcaster, **fields)


def test_every_registered_nowcaster_can_be_a_row(schedule) -> None:
    for name in NOWCASTERS:
        assert type(method_nowcaster(method(name), 1000, schedule)) is type(NOWCASTERS[name]())
    assert method_nowcaster(method("none"), 1000, schedule) is None
    assert method_nowcaster(method("oracle"), 1000, schedule).spacing == 4


def test_an_unknown_nowcaster_names_those_there_are(schedule) -> None:
    with pytest.raises(ValueError, match="'psychic'; allowed are none, identity"):
        method_nowcaster(method("psychic"), 1000, schedule)


def test_weights_are_read_from_the_file_that_wins(schedule, tmp_path: Path) -> None:
    path = tmp_path / "wnn+.safetensors"
    save_nowcaster(build_nowcaster("wnn+", hidden=8), path, {})
    assert nowcaster_file(method("checkpoint", path="other.pt"), path) == path
    assert nowcaster_file(method("checkpoint", path="other.pt"), None) == Path("other.pt")
    assert type(method_nowcaster(method("metatrained", source="wnn+"), 0, schedule, path)).__name__ == "WNNPlus"


def test_files_that_lack_or_are_too_many_are_named(schedule) -> None:
    with pytest.raises(ValueError, match="pass `nowcaster_path`"):
        method_nowcaster(method("metatrained", source="nino"), 0, schedule)
    with pytest.raises(ValueError, match="reads no file"):
        method_nowcaster(method("linear"), 0, schedule, Path("nino.pt"))


@pytest.mark.parametrize("nowcaster", ["none", "oracle"])
def test_an_option_that_means_nothing_is_named(schedule, nowcaster) -> None:
    with pytest.raises(ValueError, match="option 'speed' means nothing"):
        method_nowcaster(method(nowcaster, options={"speed": 9}), 0, schedule)


def test_approximations_of_a_nino_from_a_file(schedule, tmp_path: Path) -> None:
    for kind in ("nino", "wnn+"):
        save_nowcaster(build_nowcaster(kind, hidden=8), tmp_path / f"{kind}.safetensors", {})

    def made(seed: int, kind: str = "nino", nowcaster: str = "checkpoint", **options):
        row = method(nowcaster, options=options)
        return method_nowcaster(row, seed, schedule, tmp_path / f"{kind}.safetensors")

    some, parts = made(1, edges=0.1, power=0), made(1, nowcaster="metatrained", subgraphs="block")
    assert isinstance(some, SampledEdges) and some.share == 0.1
    assert isinstance(parts, Divided) and parts.by == "block"
    assert some.seed == made(1, edges=0.5).seed != made(2, edges=0.1).seed
    with pytest.raises(ValueError, match=r"method 'checkpoint': `edges` \(=0.1\).*WNNPlus sends none"):
        made(1, kind="wnn+", edges=0.1)
    with pytest.raises(ValueError, match="option 'edges' means nothing to nowcaster 'none'; allowed are topology"):
        method_nowcaster(method("none", options={"edges": 0.1}), 0, schedule)


@pytest.mark.parametrize("kind", ["nino", "wnn+"])
def test_a_method_may_scale_over_the_whole_network(schedule, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "fitted.safetensors"
    save_nowcaster(lively(build_nowcaster(kind, hidden=8)), path, {})
    graph = neural_graph(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)))
    states = torch.randn(graph.num_parameters, 5)
    made = {
        mode: method_nowcaster(method("checkpoint", options=options), 0, schedule, path).predict(graph, states, 3)
        for mode, options in {"tensor": {}, "network": {"scaling": "network"}}.items()
    }
    plain = method_nowcaster(method("checkpoint"), 0, schedule, path)
    assert not torch.equal(made["tensor"], made["network"])
    for mode, found in made.items():
        assert torch.equal(found, plain.predict(graph, states, 3, scaling=mode))


def test_a_scaling_that_weights_are_not_fitted_to_is_refused(schedule, tmp_path: Path) -> None:
    path = tmp_path / "fitted.safetensors"
    save_nowcaster(build_nowcaster("nino", hidden=8, scaled=False), path, {})
    row = method("checkpoint", options={"scaling": "network"})
    with pytest.raises(ValueError, match=r"method 'checkpoint': `scaling` \(='network'\).*allowed is 'none'"):
        method_nowcaster(row, 0, schedule, path)
    with pytest.raises(ValueError, match=r"`scaling` \(='network'\) is for NiNo and WNN\+, and WNN has a way"):
        rescale(row, WNN())


def test_approximated_runs_train(digits, schedule, tmp_path: Path) -> None:
    path = tmp_path / "nino.safetensors"
    save_nowcaster(lively(build_nowcaster("nino", hidden=8)), path, {})
    ends = {}
    for name, options in {"exact": {}, "some": {"edges": 0.2}, "parts": {"subgraphs": "layer"}}.items():
        row = method("checkpoint", options=options)
        training = start_training(digits, row, 7, schedule, method_nowcaster(row, 7, schedule, path))
        for _ in range(schedule.period):
            training.step()
        ends[name] = training.flat_parameters()
    assert not torch.equal(ends["exact"], ends["some"]) and not torch.equal(ends["exact"], ends["parts"])
    assert all(bool(end.isfinite().all()) for end in ends.values())


def test_what_stands_still_is_nowcast_as_published_unless_the_row_says_so(digits, schedule) -> None:
    for options, rule in (({}, "predict"), ({"still": "keep"}, "keep")):
        row = method("linear", options=options)
        training = start_training(digits, row, 1000, schedule, method_nowcaster(row, 1000, schedule))
        assert training.optimizer.nowcasting.still == rule


def test_options_reach_the_wrapper(digits, schedule) -> None:
    row = method("checkpoint", options={"update_scale": 0.5, "topology": "exact"})
    training = start_training(digits, row, 1000, schedule, NiNoNet(hidden=4))
    training.step()  # whose forward pass the graph is recorded in
    optimizer = training.optimizer
    assert optimizer.update_scale == 0.5 and optimizer.graph.topology == "exact"


def test_a_method_may_have_horizons_of_its_own(digits, schedule) -> None:
    def horizons(row: MethodSpec, nowcaster):
        return start_training(digits, row, 1000, schedule, nowcaster).optimizer.schedule.horizons

    assert horizons(method("linear"), NOWCASTERS["linear"]()) == (3, 1)
    assert horizons(method("linear", options={"max_horizon": 2, "power": 0}), NOWCASTERS["linear"]()) == (2, 2)
    assert horizons(method("linear", options={"horizons": [9, 7]}), NOWCASTERS["linear"]()) == (9, 7)
    assert horizons(method("checkpoint"), WNN()) == (5,)  # the one that it was trained for


def test_a_method_may_have_a_period_and_a_spacing_of_its_own(digits, schedule) -> None:
    def made(**options):
        row = method("linear", options=options)
        return start_training(digits, row, 1000, schedule, method_nowcaster(row, 1000, schedule)).optimizer.schedule

    assert made().period == schedule.period
    half = schedule.period // 2
    assert (made(period=half, spacing=1).period, made(period=half, spacing=1).spacing) == (half, 1)
    assert made(spacing=1).spacing == 1


def test_a_schedule_that_does_not_fit_is_refused(digits) -> None:
    row, long = method("linear"), ScheduleSpec(period=100)
    with pytest.raises(ValueError, match="`period`"):
        start_training(digits, row, 1000, long, method_nowcaster(row, 1000, long))


def test_random_follows_its_seed_and_leaves_the_global_generator_alone(digits, schedule) -> None:
    def jump(seed: int):
        row = method("random")
        training = start_training(digits, row, 7, schedule, method_nowcaster(row, seed, schedule))
        for _ in range(schedule.period):
            training.step()
        return training.flat_parameters()

    before = torch.get_rng_state()
    assert torch.equal(jump(1), jump(1)) and not torch.equal(jump(1), jump(2))
    assert torch.equal(torch.get_rng_state(), before)


def test_an_oracle_without_a_run_says_what_to_do(digits, schedule) -> None:
    training = start_training(digits, method("none"), 0, schedule, None)
    graph = start_training(digits, method("linear"), 0, schedule, method_nowcaster(method("linear"), 0, schedule))
    states = training.flat_parameters().unsqueeze(1).expand(-1, 5)
    with pytest.raises(RuntimeError, match="call `follow"):
        Oracle(spacing=4).predict(graph.optimizer.graph, states, 1)


@pytest.mark.parametrize("nowcaster", ["linear", "oracle"])
def test_a_method_may_read_more_states_than_others(digits, schedule, nowcaster) -> None:
    row = MethodSpec("row", nowcaster, options={"context": 10, "spacing": 2})
    built = method_nowcaster(row, 1000, schedule)
    training = start_training(digits, row, 1000, schedule, built)
    seen = []
    training.optimizer.register_nowcast_pre_hook(lambda opt, record: seen.append(tuple(opt.history.states().shape)))
    for _ in range(schedule.period):
        training.step()
    assert seen == [(digits.num_parameters(), 10)]
    assert nowcaster != "oracle" or built.spacing == 2
