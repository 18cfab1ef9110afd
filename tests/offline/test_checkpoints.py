"""Files of weights: what their formats ask for."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from nino.nowcasters import LineFit
from nino.offline import merge, step


class Tied(nn.Module):
    """Words that are read and written by one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(5, 4)
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.words.weight

    def forward(self, word: Tensor) -> Tensor:
        return self.head(self.words(word))


def test_both_names_of_a_tied_weight_in_safetensors_hold_the_nowcast(tmp_path: Path) -> None:
    paths = [tmp_path / f"model-{n}.safetensors" for n in range(1, 6)]
    for n, path in enumerate(paths):
        weight = torch.arange(20.0).view(5, 4) * (1 + n)
        save_file({"words.weight": weight, "head.weight": weight.clone()}, path)
    example = torch.zeros(2, dtype=torch.long)
    stepped = step(
        tmp_path, LineFit(), k=2, model=Tied(), example=example, pattern="model-*", out=tmp_path / "step.safetensors"
    )
    merged = merge(
        paths[0], paths[1:3], LineFit(), tmp_path / "merge.safetensors", model=Tied(), update_scale=1.0, horizons=[2]
    )
    for path, times in ((stepped.path, 7), (merged.path, 2.5)):  # embeddings are averaged
        tensors = load_file(path)
        assert set(tensors) == {"words.weight", "head.weight"}
        for tensor in tensors.values():
            torch.testing.assert_close(tensor, torch.arange(20.0).view(5, 4) * times)
