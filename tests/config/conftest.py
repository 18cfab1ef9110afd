"""A small complete config to break."""

from __future__ import annotations

from typing import Any

import pytest


def small() -> dict[str, Any]:
    """A config with every section and little in it."""
    return {
        "run": "small",
        "tasks": {
            "digits-8": {
                "data": {"name": "digits"},
                "model": {"name": "convnet", "options": {"channels": [8, 8]}},
                "recipe": {"optimizer": "adam", "lr": 0.006, "batch_size": 128, "steps": 100},
                "target": {"metric": "accuracy", "value": 90.0},
                "evaluation": {"test_every": 5, "validation_every": 10},
            },
            "pydoc-2-16": {
                "data": {"name": "pydoc", "options": {"block": 32}},
                "model": {"name": "gpt2", "options": {"layers": 2, "width": 16, "heads": 2}},
                "recipe": {"optimizer": "adamw", "lr": 0.002, "batch_size": 16, "steps": 100, "weight_decay": 0.01},
                "target": {"metric": "perplexity", "value": 10.0},
                "evaluation": {"test_every": 5, "validation_every": 10, "at_nowcast": "before"},
            },
        },
        "trajectories": {"digits-8": {"models": 5, "models_per_shard": 2, "state_every": 2}},
        "metatrain": {
            "tasks": ["digits-8"],
            "nowcasters": {"nino": {"kind": "nino", "model": {"hidden": 8}}, "wnn+": {"kind": "wnn+", "lr": 0.001}},
            "recipe": {"iterations": 10, "window_stride": 4},
        },
        "evaluate": {
            "tasks": ["digits-8", "pydoc-2-16"],
            "seeds": [1000, 2000],
            "schedule": {"period": 20},
            "methods": {
                "base": {"nowcaster": "none", "label": "Adam"},
                "linear": {"nowcaster": "linear"},
                "nino": {"nowcaster": "metatrained", "source": "nino"},
            },
        },
        "report": {"baseline": "base"},
    }


@pytest.fixture
def config() -> dict[str, Any]:
    """The small config, fresh for every test."""
    return small()
