"""Fine-tuned models merged by a nowcast: the formula, what is averaged, files and folders, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nino.graphs import neural_graph
from nino.nowcasters import LineFit, build_nowcaster
from nino.offline import merge
from nino.offline.merge import ORDERS


class Words(nn.Module):
    """An embedding, a layer and batch statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(7, 6)
        self.body = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, word: Tensor) -> Tensor:
        return self.body(self.words(word))


EXAMPLE = torch.tensor([0, 3, 2])


def models(folder: Path, count: int) -> list[Path]:
    """A base and ``count`` models near it."""
    paths = []
    for n in range(count + 1):
        torch.manual_seed(0)
        model = Words()
        torch.manual_seed(n)
        with torch.no_grad():
            for tensor in (*model.parameters(), model.body[1].running_mean):
                tensor.add_(0.1 * torch.randn_like(tensor))
            model.body[0].bias.zero_()
        torch.save({"model": model.state_dict(), "epoch": n}, folder / f"model{'abcde'[n]}.pt")
        paths.append(folder / f"model{'abcde'[n]}.pt")
    return paths


def network() -> nn.Module:
    net = build_nowcaster("nino", hidden=16, word_positions=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in net.parameters():
            if p.ndim == 2:
                p.normal_(0.0, p.shape[1] ** -0.5, generator=generator)
    return net


@pytest.mark.parametrize("count", ORDERS)
def test_the_merge_is_the_mean_of_the_nowcasts(tmp_path: Path, count: int) -> None:
    paths, net = models(tmp_path, count), network()
    done = merge(paths[0], paths[1:], net, tmp_path / "merged.pt", model=Words(), example=EXAMPLE)
    assert done.order == ORDERS[count] and done.averaged == ("words.weight",)
    states = [torch.load(path)["model"] for path in paths]
    graph = neural_graph(Words(), example=EXAMPLE)
    rows = [torch.cat([states[i][p.name].flatten() for p in graph.parameters]) for i in done.order]
    ahead = sum(net.predict(graph, torch.stack(rows, 1), k) for k in range(1, 6)) / 5
    wanted = rows[-1] + 0.3 * (ahead - rows[-1])
    assert (ahead - rows[-1]).abs().max() > 1e-2
    content = torch.load(done.path, weights_only=True)
    merged = content["model"]
    assert content["epoch"] == 1 and set(merged) == set(states[0])
    for p in graph.parameters:
        if p.name == "words.weight":
            expected = torch.stack([state[p.name] for state in states[1:]]).mean(0)
        elif p.name == "body.0.bias":
            expected = torch.zeros(8)  # held still by all
        else:
            expected = wanted[p.slice].view(p.shape)
        torch.testing.assert_close(merged[p.name], expected, rtol=1e-6, atol=1e-6)
    statistics = torch.stack([state["body.1.running_mean"] for state in states[1:]]).mean(0)
    torch.testing.assert_close(merged["body.1.running_mean"], statistics)


def test_elements_that_are_equal_in_all_models_stay(tmp_path: Path) -> None:
    paths = models(tmp_path, 2)
    for path in paths:
        content = torch.load(path)
        content["model"]["body.0.weight"][4] = 0.0  # pruned
        torch.save(content, path)
    done = merge(paths[0], paths[1:], network(), tmp_path / "merged.pt", model=Words(), example=EXAMPLE)
    merged, last = (torch.load(path)["model"]["body.0.weight"] for path in (done.path, paths[2]))
    assert not merged[4].any() and (merged != last)[[0, 1, 2, 3, 5, 6, 7]].all()


def test_a_line_reads_any_number_of_models(tmp_path: Path) -> None:
    paths = models(tmp_path, 2)
    still = merge(paths[0], paths[1:], LineFit(), tmp_path / "a.pt", model=Words(), update_scale=0.0)
    weight = torch.load(still.path)["model"]["body.0.weight"]
    assert torch.equal(weight, torch.load(paths[2])["model"]["body.0.weight"])
    moved = merge(paths[0], paths[1:], LineFit(), tmp_path / "b.pt", model=Words(), update_scale=1.0, horizons=[2])
    a, b, c = (torch.load(path)["model"]["body.0.weight"] for path in paths)
    line = (a + b + c) / 3 + 3 * (c - a) / 2
    torch.testing.assert_close(torch.load(moved.path)["model"]["body.0.weight"], line)


def test_what_cannot_be_merged_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    paths, out, net = models(tmp_path, 4), tmp_path / "merged.pt", network()
    options = {"model": Words(), "example": EXAMPLE}
    with pytest.raises(ValueError, match="1 fine-tuned models and a nowcaster that reads 5 states"):
        merge(paths[0], paths[1:2], net, out, **options)
    with pytest.raises(ValueError, match="5 fine-tuned models"):
        merge(paths[0], [*paths[1:], paths[1]], net, out, **options)
    with pytest.raises(ValueError, match="`horizons` is empty"):
        merge(paths[0], paths[1:], net, out, horizons=[], **options)
    with pytest.raises(ValueError, match=r"`k` \(=41\)"):
        merge(paths[0], paths[1:], net, out, horizons=[41], **options)
    with pytest.raises(FileExistsError, match="exists already"):
        merge(paths[0], paths[1:], net, paths[1], **options)
    with pytest.raises(ValueError, match=r"`update_scale` \(=inf\) must be a finite number"):
        merge(paths[0], paths[1:], net, out, update_scale=float("inf"), **options)
    with pytest.raises(ValueError, match="is not finite"):
        merge(paths[0], paths[1:], net, out, update_scale=1e300, **options)
    torch.save({"words.weight": torch.zeros(7, 6)}, paths[2])
    with pytest.raises(ValueError, match="modelc.pt lacks parameter"):
        merge(paths[0], paths[1:], net, out, **options)
    assert not out.exists()
