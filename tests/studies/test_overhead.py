import json
from dataclasses import replace

import pytest
import torch

from nino.l2o import L2O
from nino.nowcasters import build_nowcaster, save_nowcaster
from nino.specs import OverheadSpec
from nino.studies.overhead import (
    APPROXIMATIONS,
    METHODS,
    MODELS,
    REPEATS,
    Cost,
    _gradient,
    build,
    measure,
)
from nino.studies.overhead_report import findings, study, table
from nino.studies.overhead_rows import costs
from tests.nowcasters.helpers import lively

SPEC = OverheadSpec(models=("gpt2-1-8",), methods=("adam", "nino"), hidden=4, batch=2, tokens=8, period=100)


def cost(model: str = "llama-6-384", method: str = "nino", seconds: float = 5.0, first: float | None = 9.0) -> Cost:
    return Cost(model, method, 111_000_000, "cpu", 1.0, seconds, first, 3_000_000_000, 4_000_000_000)


def test_a_batch_in_parts_has_the_gradient_of_the_whole():
    tokens = torch.randint(MODELS["gpt2-1-8"].vocabulary, (4, 9))
    network = build("gpt2-1-8", 8)
    found = []
    for parts in (1, 4):
        _gradient(network, tokens, replace(SPEC, batch=4, accumulate=parts), "cpu")
        found.append([p.grad.clone() for p in network.parameters()])
    torch.testing.assert_close(*found)
    with pytest.raises(ValueError, match=r"`batch` \(=2\) must be a multiple of `accumulate` \(=3\)"):
        costs(replace(SPEC, accumulate=3), "cpu")


def test_repeats_are_shown_with_their_range():
    shown = table([replace(cost(), spread=(4.0, 7.0))], replace(SPEC, accumulate=2))
    assert list(shown.text["Seconds"]) == ["5 (4 to 7) a nowcast"]
    assert (shown.data.seconds_least[0], shown.data.seconds_most[0]) == (4.0, 7.0)
    assert "2 x 8 tokens in 2 parts" in shown.notes[0] and "of 7 nowcasts or steps after the first" in shown.notes[0]
    least, most = measure(SPEC, "gpt2-1-8", "nino", "cpu").spread
    assert 0 < least < most


def test_models_have_the_sizes_they_are_named_by():
    sizes = {}
    for name in MODELS:
        with torch.device("meta"):
            sizes[name] = sum(p.numel() for p in build(name, 1024).parameters())
    assert sizes["gpt2-3-64"] == 3_432_064
    assert 30e6 < sizes["gpt2-6-384"] < 31e6
    assert 111e6 < sizes["llama-6-384"] < 112e6


def test_the_share_is_of_the_seconds_of_training():
    assert cost().share(1000) == pytest.approx(0.5)
    assert cost(method="adam", first=None).share(1000) == 0.0
    learned = cost(method="l2o", seconds=1.25, first=None)
    assert learned.share(1000, adam_seconds=1.0) == pytest.approx(25)
    rows = [cost(method="adam", seconds=1.0, first=None), learned, replace(learned, model="gpt2-3-64")]
    assert list(table(rows, SPEC).text["Share of training, %"]) == ["0.00", "25.00", "–"]


def test_a_learned_optimizer_takes_the_steps_itself(monkeypatch):
    taken, step = [], L2O.step
    monkeypatch.setattr(L2O, "step", lambda self, closure=None: taken.append(step(self, closure)))
    learned = measure(SPEC, "gpt2-1-8", "l2o", "cpu")
    assert len(taken) == REPEATS
    assert learned.first_seconds is None and learned.peak_bytes == learned.step_bytes


def test_published_values_stand_beside_the_model_they_are_of_alone():
    shown = table([cost(), cost("gpt2-3-64")], SPEC)
    assert list(shown.text["Published"]) == ["57 GB, 5.52 s a prediction, 0.61 %", "–"]
    assert "the paper's public review thread" in shown.notes[2]
    assert "Published" not in table([cost("gpt2-3-64")], SPEC).text


def test_the_findings_are_of_the_largest_model_and_of_all():
    large, small = cost(), Cost("gpt2-3-64", "nino", 3, "cpu", 1, 1, 1, 1, 1)
    assert findings([small, large], SPEC) == (
        "llama-6-384, 111.0M parameters: 5 s a nowcast of NiNo (median, least to most, n = 7), 1 s a base step.",
        "Over all models a nowcast every 100 steps takes of NiNo 1.00 to 5.00 % of training (n = 2).",
    )
    assert findings([cost(method="adam", first=None)], SPEC) == ()


def test_the_study_measures_each_method_in_a_process_of_its_own(tmp_path):
    measured = study(SPEC, tmp_path)
    assert list(measured.data.method) == list(SPEC.methods)
    assert (measured.data.seconds > 0).all() and (measured.data.peak_bytes > 0).all()
    assert measured.data.first_seconds.notna().tolist() == [False, True]
    record = json.loads((tmp_path / "manifests" / "overhead.json").read_text())
    assert record["inputs"]["spec"]["models"] == ["gpt2-1-8"]
    assert "tables/overhead.md" in record["outputs"]
    assert not list(tmp_path.glob("unfinished*"))


def test_approximations_are_held_against_the_exact_nowcast(tmp_path):
    weights = tmp_path / "nino.safetensors"
    save_nowcaster(lively(build_nowcaster("nino", hidden=4)), weights)
    spec = replace(SPEC, nowcaster=str(weights))
    apart = {method: measure(spec, "gpt2-1-8", method, "cpu").difference for method in METHODS}
    assert [method for method, value in apart.items() if value is not None] == list(APPROXIMATIONS)
    assert all(apart[method] > 1e-3 for method in APPROXIMATIONS)
    assert measure(spec, "gpt2-1-8", "nino-blocks", "cpu").difference == apart["nino-blocks"]
    shown = table([replace(cost(), difference=0.25), cost()], spec)
    assert list(shown.text["Off the exact nowcast, %"]) == ["25", "–"]
    assert "Off the exact nowcast, %" not in table([cost()], SPEC).text


@pytest.mark.parametrize("change", [{"models": ("gpt3",)}, {"methods": ("sgd",)}])
def test_what_is_not_known_is_refused(tmp_path, change):
    with pytest.raises(ValueError, match="allowed are"):
        study(OverheadSpec(**({"models": ("gpt2-1-8",), "methods": ("adam",)} | change)), tmp_path)
