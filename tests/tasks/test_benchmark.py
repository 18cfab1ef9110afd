"""The tasks of the repository's own config."""

from pathlib import Path

import pytest
import torch
import yaml

from nino.specs import TaskSpec
from nino.tasks import DATASETS, MODELS, Data

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8"))
TASKS = {name: TaskSpec.from_dict({"id": name, **task}) for name, task in CONFIG["tasks"].items()}
SHAPES = {"fashion-mnist": ((1, 28, 28), 10), "cifar10": ((3, 32, 32), 10), "cifar100": ((3, 32, 32), 100)}
SHAPES |= {"imagenet32": ((3, 32, 32), 1000)}
VOCABULARIES = {"meta-llama/Meta-Llama-3-8B": 128_256}  # others: GPT-2's
PARAMETERS = {"fm-16": 14_378, "c10-16": 14_666, "lm1b-3-24": 1_252_464, "lm1b-2-32": 1_666_464}
PARAMETERS |= {"lm1b-3-64": 3_432_064, "wiki-3-64": 3_432_064}
PARAMETERS |= {"wiki-llama-6-384": 111_481_728, "vit-imagenet32": 11_076_712}
EPOCHS, IMAGENET = 50, 1_281_167 - 10_000


@pytest.mark.parametrize("name", TASKS)
def test_a_task_names_what_is_registered_and_its_network_is_of_the_published_size(name):
    spec = TASKS[name]
    assert spec.data.name in DATASETS
    vocabulary = VOCABULARIES.get(spec.data.options.get("tokenizer"), 50_257)
    shape, outputs = SHAPES.get(spec.data.name, ((spec.data.options.get("block"),), vocabulary))
    data = Data("", None, None, None, shape, outputs, "")
    with torch.device("meta"):
        parameters = sum(p.numel() for p in MODELS[spec.model.name](data, spec.model.options).parameters())
    assert parameters == PARAMETERS.get(name, parameters) > 10_000


def test_targets_are_the_published_ones(shared):
    published = yaml.safe_load((shared / "published.yaml").read_text(encoding="utf-8"))["targets"]
    assert {name: spec.target.value for name, spec in TASKS.items() if name in published} == published


def test_recipes_are_the_papers():
    for name, spec in TASKS.items():
        vision = spec.target.metric == "accuracy"
        assert spec.recipe.batch_size == (128 if vision else 32), name
        assert (spec.recipe.optimizer, spec.recipe.weight_decay) == (("adam", 0.0) if vision else ("adamw", 0.01)), name
        if name != "vit-imagenet32":
            assert spec.recipe.lr == {"fm": 6e-3, "c1": 3e-3}.get(name[:2], 2e-4), name
            assert spec.evaluation.test_every == (1 if vision else 500), name


def test_vit_is_trained_50_epochs_and_measured_after_each():
    spec = TASKS["vit-imagenet32"]
    epoch = IMAGENET // spec.recipe.batch_size
    assert (spec.recipe.steps, spec.evaluation.test_every) == (EPOCHS * epoch, epoch)
