from __future__ import annotations

import pytest
import torch
from torch import nn

from nino.graphs.weights import Weights


def test_views_and_windows_point_where_the_values_are() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    weights = Weights(model)
    flat = torch.cat([p.detach().flatten() for p in model.parameters()])
    for name, parameter in model.named_parameters():
        view = weights.view(name)
        assert torch.equal(flat.as_strided(view.shape, view.stride(), view.storage_offset()), parameter)
        assert weights.window(view[-1:])[1] == name


def test_compiled_names_are_the_plain_ones() -> None:
    weights = Weights([("_orig_mod.a", (2,))])
    assert "a" in weights and weights["a"].name == "_orig_mod.a"


def test_what_is_not_there_is_refused() -> None:
    weights = Weights([("a", (2,))])
    with pytest.raises(ValueError, match="no parameter 'b': the model has parameter 'a'"):
        weights.view("b")
    with pytest.raises(ValueError, match="is no window"):
        weights.window(torch.zeros(2))
