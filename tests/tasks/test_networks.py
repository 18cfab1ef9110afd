from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nino.ensemble import Ensemble, obstacle
from nino.specs import DataSpec, EvaluationSpec, ModelSpec, RecipeSpec, TargetSpec, TaskSpec
from nino.specs.model_options import LIBRARIES, MODEL_KINDS
from nino.tasks import Data, Task
from nino.tasks.calls import call, predictions
from nino.tasks.model_contract import described, violations
from nino.tasks.networks import is_ours, make_model, sketch_model
from nino.tasks.registry import MODELS
from nino.tasks.sizes import DataSizes
from nino.training import Training

GREY = DataSizes("vision", (1, 28, 28), 5, {}, "drawn").synthetic(8, 4, 4)
COLOURS = DataSizes("vision", (3, 32, 32), 5, {}, "drawn").synthetic(8, 4, 4)
TOKENS = DataSizes("language", (12,), 31, {}, "drawn").synthetic(8, 4, 4)
ROWS = DataSizes("table", (5,), 3, {}, "drawn").synthetic(8, 4, 4)

SOURCE = """
import random
import torch
from torch import nn
from torch.nn import functional as F

def plain(data, width=4):
    return nn.Sequential(nn.Flatten(), nn.Linear(data.shape[0] * 784, width), nn.ReLU(), nn.Linear(width, data.outputs))

class Changed(nn.Module):
    def __init__(self, data, how):
        super().__init__()
        self.net, self.how, self.spare = plain(data), how, nn.Parameter(torch.zeros(2)) if how == "lost" else None
        self.register_buffer("count", torch.zeros(()))
    def forward(self, x):
        y = self.net(x)
        if self.how == "random":
            y = F.dropout(y, 0.5, training=True)
        if self.how == "masked":
            y = F.dropout(y, 0.5, training=self.training)
        if self.how == "batch":
            y = y - y.mean(0)
        if self.how == "counts":
            self.count += 1
        if self.how == "wide":
            y = torch.cat([y, y], 1)
        if self.how == "nan":
            y = y / 0 - y / 0
        if self.how == "branches" and y.sum() > 0:
            y = 2 * y
        return {"text": "logits"} if self.how == "text" else (y, None)

def seeded(data):
    model = plain(data)
    with torch.no_grad():
        model[1].bias[0] = random.random()
    return model

def half(data): return plain(data).half()
def list_(data): return [1]
def lazy(data): return nn.Sequential(nn.Flatten(), nn.LazyLinear(data.outputs))
def forward_looking(data):
    return nn.Sequential(nn.Embedding(data.outputs, 8), Mean(), nn.Linear(8, data.outputs))

class Mean(nn.Module):
    def forward(self, x): return x + x.mean(1, keepdim=True)

def numbers(data): return plain(data, width=int(torch.ones(2).sum().item()))
"""


def skip_without(model: str) -> None:
    """Skip where a library is not installed; importing it is left to the code under test."""
    if model in LIBRARIES and find_spec(model) is None:
        pytest.skip(f"{model} is not installed")


@pytest.fixture
def task(tmp_path: Path) -> Callable[..., Task]:
    """Makes a task with a model from a file."""
    file = tmp_path / "own.py"
    file.write_text(SOURCE, encoding="utf-8")

    def make(name: str, data: Data = GREY, **options: Any) -> Task:
        metric = "perplexity" if data.kind == "language" else "accuracy"
        spec = TaskSpec(
            "own",
            DataSpec("digits"),
            ModelSpec(f"{file}:{name}" if name in SOURCE else name, options),
            RecipeSpec("adam", 1e-3, 10, 4),
            TargetSpec(metric, 50.0),
            EvaluationSpec(1, 1),
        )
        return Task(spec, data)

    return make


@pytest.mark.parametrize(
    ("name", "data", "options"),
    [
        ("timm", GREY, {"model": "resnet10t"}),
        ("timm", COLOURS, {"model": "vit_tiny_patch16_224", "patch_size": 8, "embed_dim": 24, "depth": 1}),
        ("torchvision", GREY, {"model": "squeezenet1_1"}),
        ("torchvision", COLOURS, {"model": "shufflenet_v2_x0_5"}),
        ("transformers", COLOURS, {"model": "vit", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
                                   "intermediate_size": 8, "patch_size": 8}),
        ("transformers", TOKENS, {"model": "gpt_neox", "hidden_size": 8, "num_hidden_layers": 1,
                                  "num_attention_heads": 2, "intermediate_size": 8}),
        ("transformers", TOKENS, {"model": "bert", "hidden_size": 8, "num_hidden_layers": 1,
                                  "num_attention_heads": 2, "intermediate_size": 8}),
    ],
)  # fmt: skip
def test_models_of_libraries_take_their_sizes_from_the_data(
    task: Callable[..., Task], name: str, data: Data, options: dict[str, Any]
) -> None:
    skip_without(name)
    made = task(name, data, **options)
    sketch = sketch_model(made.spec.model, data)
    assert not is_ours(made.spec.model) and next(sketch.parameters()).is_meta
    model = made.build_model(0).eval()
    assert made.num_parameters() == sum(p.numel() for p in model.parameters())
    inputs, targets = data.train.slice(0, 2)
    with torch.no_grad():
        assert made.outputs(model, inputs).shape == (*targets.shape, data.outputs)
    if data.kind == "language":
        assert violations(made) == []  # nothing looks ahead, not even BERT


def test_rows_that_lie_as_images_do_are_images_to_a_model() -> None:
    assert MODEL_KINDS.keys() == MODELS.keys()
    pixels = DataSizes("table", (2, 8, 8), 3, {}, "drawn").synthetic(8, 4, 4)
    model = make_model(ModelSpec("convnet", {"channels": [4, 4]}), pixels)
    assert model(pixels.train.slice(0, 2)[0]).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "data", "options", "says"),
    [
        ("timm", GREY, {"model": "resnet19"}, r"timm has no such model; did you mean 'resnet18'\?"),
        ("timm", GREY, {"model": "resnet10t", "widht": 1}, "unexpected keyword argument 'widht'"),
        ("timm", TOKENS, {"model": "resnet10t"}, r"timm\) is for vision data, and these are language data; use gpt2"),
        ("gpt2", GREY, {}, r"model.name \(=gpt2\) is for language data, and these are vision data; use convnet, timm"),
        ("convnet", ROWS, {}, "is for vision data, and these are table data; use mlp or one of your own"),
        ("mlp", TOKENS, {}, "is for vision and table data, and these are language data; use gpt2, llama"),
        ("torchvision", GREY, {}, "needs model.options.model"),
        ("torchvision", GREY, {"model": "fcn_resnet50"}, "torchvision has no such classifier"),
        ("transformers", TOKENS, {"model": "gpt3"}, "no model type of transformers and no path; did you mean"),
        ("transformers", TOKENS, {"model": "gpt2", "n_emb": 8}, "has no 'n_emb'; did you mean 'n_embd'"),
        ("transformers", COLOURS, {"model": "gpt2"}, "Unrecognized configuration class"),
        ("convnett", GREY, {}, r"model.name is 'convnett': did you mean 'convnet'\?"),
    ],
)
def test_what_libraries_do_not_have_is_said_in_one_line(
    name: str, data: Data, options: dict[str, Any], says: str
) -> None:
    skip_without(name)
    with pytest.raises(ValueError, match=says) as caught:
        make_model(ModelSpec(name, options), data)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("plain", {"width": 3}, ""),
        ("seeded", {}, "seed: 1.bias differs in two networks of one seed"),
        ("half", {}, "form: parameter 1.weight is no float32"),
        ("Changed", {"how": "lost"}, r"trains: no gradient reaches spare (1 of 5)"),
        ("Changed", {"how": "random"}, "evaluates: the same inputs give other outputs"),
        ("Changed", {"how": "batch"}, "apart: in evaluation mode"),
        ("Changed", {"how": "counts"}, "evaluates: an evaluation changes count"),
        ("Changed", {"how": "wide"}, "form: outputs of shape (4, 10), not (4, 5)"),
        ("Changed", {"how": "nan"}, "finite: False"),
        ("Changed", {"how": "text"}, "form: raised ValueError: the model gives dict"),
        ("Changed", {"how": "masked"}, ""),
    ],
)
def test_the_contract_finds_what_breaks_it(
    task: Callable[..., Task], name: str, options: dict[str, Any], says: str
) -> None:
    sentences = violations(task(name, **options))
    assert any(says in sentence for sentence in sentences) if says else not sentences, sentences


def test_a_language_model_that_looks_ahead_is_found(task: Callable[..., Task]) -> None:
    (sentence,) = violations(task("forward_looking", TOKENS))
    assert sentence.startswith("looks back: ")


def test_what_gives_no_network_is_refused_in_one_line(task: Callable[..., Task]) -> None:
    for name, says in (("list_", "gave list, not a torch.nn.Module"), ("lazy", "gave a parameter without a shape")):
        with pytest.raises(ValueError, match=says):
            task(name).build_model(0)


def test_a_network_that_cannot_be_sketched_is_built(task: Callable[..., Task]) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert task("numbers").num_parameters() == 784 * 2 + 2 + 2 * 5 + 5
    assert torch.equal(torch.get_rng_state(), before)


def test_what_a_network_draws_follows_from_the_seed(task: Callable[..., Task]) -> None:
    """Also where it stands in no module, so that a run can be repeated and continued."""
    masked = task("Changed", how="masked")
    losses = []
    for noise in (1, 2):
        training = Training(masked, seed=3)
        torch.manual_seed(noise)
        losses.append([float(training.step()) for _ in range(3)])
    assert losses[0] == losses[1]


def test_networks_from_outside_are_stacked_only_where_that_changes_nothing(task: Callable[..., Task]) -> None:
    plain = task("plain")
    assert obstacle(plain) is None
    alone = [float(Training(plain, seed).step()) for seed in (1, 2)]
    assert Ensemble([Training(plain, seed) for seed in (1, 2)]).step().tolist() == pytest.approx(alone, rel=1e-5)
    for how in ("masked", "branches"):
        assert "cannot be vectorised" in str(obstacle(task("Changed", how=how))), how


def test_inputs_and_outputs_of_any_form() -> None:
    class Two(nn.Module):
        def forward(self, left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, None]:
            return left - right, None

    one, two = torch.ones(2, 3), torch.zeros(2, 3)
    assert torch.equal(predictions(call(Two(), (one, two))), one)
    assert torch.equal(predictions(call(Two(), {"right": one, "left": two})), -one)
    with pytest.raises(ValueError, match="the model gives NoneType: let its forward return a tensor"):
        predictions(None)


def test_the_graph_is_described(task: Callable[..., Task]) -> None:
    assert "0 of 4 tensors carried" in described(task("plain"))
