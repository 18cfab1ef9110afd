"""Golden cases (what the released implementation computed, and the models it computed it for) and random graphs."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nino.graphs import Block, EdgeType, NeuralGraph, Nodes, Parameter, WeightView, neural_graph
from nino.nowcasters.engines.edges import EdgeList
from nino.tasks.torchvision_ops import declare_missing_operators

TINY = ("tiny_convnet", "tiny_gpt2", "tiny_llama")
RELEASED = ("conv_4_6_6", "conv_bn", "mlp", "gpt2_3_24", "llama_untied", "vit_p3", "bert", "qwen3")
DATA = Path(__file__).resolve().parent.parent / "data"


class Known(NeuralGraph):
    """A graph of which only the edge list is known."""

    edges: EdgeList

    def to_pyg(self, states: Tensor | None = None) -> Any:
        return self.edges


@dataclass
class Golden:
    """One golden file."""

    name: str
    arrays: dict[str, np.ndarray[Any, Any]]

    def tensor(self, name: str) -> Tensor:
        array = self.arrays[name]
        return torch.from_numpy(array.astype(np.int64) if array.dtype.kind == "i" else array)

    @property
    def horizons(self) -> list[int]:
        return sorted(int(key.removeprefix("pred_nino_k")) for key in self.arrays if key.startswith("pred_nino_k"))

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        found, offset = [], 0
        for name, shape in zip(self.arrays["param_names"], self.arrays["param_shapes"], strict=True):
            sizes = tuple(int(size) for size in ast.literal_eval(str(shape)))
            found.append(Parameter(str(name), offset, sizes))
            offset += found[-1].numel
        return tuple(found)

    @property
    def edges(self) -> EdgeList:
        if "param_edge" in self.arrays:
            edge, position = self.tensor("param_edge"), self.tensor("param_position")
        else:
            slot, width = self.tensor("param_edge_slot"), int(self.arrays["max_feat_size"])
            edge, position = slot // width, slot % width
        return EdgeList(
            self.tensor("edge_index"), self.tensor("edge_type"), edge, position, int(self.arrays["num_nodes"])
        )

    def as_graph(self) -> NeuralGraph:
        """The golden graph itself, where a nowcaster asks for a neural graph and reads its edge list only."""
        edges = self.edges
        graph = Known({}, (), self.parameters, edges.num_nodes)
        object.__setattr__(graph, "edges", edges)
        return graph

    def graph(self) -> NeuralGraph:
        """Our graph of the same model."""
        graph = neural_graph(MODELS[self.name](), topology="released")
        assert [(p.name, p.shape) for p in graph.parameters] == [(p.name, p.shape) for p in self.parameters]
        return graph

    def lpe(self, graph: NeuralGraph) -> Tensor:
        """The golden positions in our node order, through the parameters' endpoints."""
        ours, theirs = graph.endpoints(), self.edges.edge_index[:, self.edges.param_edge].T
        place = torch.full((graph.num_nodes,), -1)
        place[ours.flatten()] = theirs.flatten()
        assert torch.equal(place[ours], theirs), "endpoints do not map one to one"
        positions = self.tensor("pos")
        # nodes without parameters (attention heads) are found by their neighbours instead
        for node in (place < 0).nonzero().flatten().tolist():
            place[node] = _by_neighbours(graph.edge_index(), self.edges.edge_index, place, node)
        assert place.unique().numel() == graph.num_nodes
        return positions[place]

    def weights(self, kind: str) -> dict[str, Tensor]:
        """Weights that a tiny file brings along."""
        prefix = f"weight_{kind}/"
        return {key.removeprefix(prefix): self.tensor(key) for key in self.arrays if key.startswith(prefix)}


def _by_neighbours(ours: Tensor, theirs: Tensor, place: Tensor, node: int) -> int:
    wanted = set(place[ours[1, (ours[0] == node) & (ours[1] != node)]].tolist())
    for candidate in sorted(set(range(int(theirs.max()) + 1)) - set(place.tolist())):
        if wanted == set(theirs[1, (theirs[0] == candidate) & (theirs[1] != candidate)].tolist()):
            return candidate
    raise AssertionError(f"node {node} has no counterpart")


def golden_file(name: str, shared: Path) -> Golden:
    with np.load(shared / "golden" / f"{name}.npz") as file:
        return Golden(name, {key: file[key] for key in file.files})


class Wrapped(nn.Module):
    """Layers in a row, below the name that the golden parameters have."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.fc = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)


def _conv(*sizes: int) -> nn.Module:
    a, b, c = sizes[1:]
    return Wrapped(
        nn.Conv2d(sizes[0], a, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(a, b, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(b, c, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(c, 10),
    )


def _conv_bn() -> nn.Module:
    return Wrapped(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 10),
    )


def _mlp() -> nn.Module:
    return Wrapped(nn.Linear(49, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 10))


def _gpt2(d: int, layers: int, heads: int, vocabulary: int, positions: int) -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(
        GPT2Config(n_embd=d, n_layer=layers, n_head=heads, vocab_size=vocabulary, n_positions=positions)
    )


def _llama(d: int, ff: int, vocabulary: int) -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            hidden_size=d,
            num_hidden_layers=2,
            num_attention_heads=6,
            num_key_value_heads=2,
            intermediate_size=ff,
            vocab_size=vocabulary,
            tie_word_embeddings=False,
        )
    )


def _vit() -> nn.Module:
    from torchvision.models import VisionTransformer

    return VisionTransformer(
        image_size=9, patch_size=3, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5
    )


def _bert() -> nn.Module:
    from transformers import BertConfig, BertForMaskedLM

    return BertForMaskedLM(
        BertConfig(
            hidden_size=12,
            num_hidden_layers=2,
            num_attention_heads=3,
            intermediate_size=24,
            vocab_size=31,
            max_position_embeddings=9,
        )
    )


def _qwen3() -> nn.Module:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    return Qwen3ForCausalLM(
        Qwen3Config(
            hidden_size=12,
            num_hidden_layers=2,
            num_attention_heads=6,
            num_key_value_heads=2,
            head_dim=2,
            intermediate_size=24,
            vocab_size=29,
            tie_word_embeddings=False,
        )
    )


declare_missing_operators()
MODELS: dict[str, Callable[[], nn.Module]] = {
    "tiny_convnet": lambda: _conv(1, 4, 6, 6),
    "tiny_gpt2": lambda: _gpt2(6, 2, 2, 23, 5),
    "tiny_llama": lambda: _llama(12, 24, 17),
    "conv_4_6_6": lambda: _conv(1, 4, 6, 6),
    "conv_bn": _conv_bn,
    "mlp": _mlp,
    "gpt2_3_24": lambda: _gpt2(24, 3, 3, 101, 16),
    "llama_untied": lambda: _llama(24, 48, 53),
    "vit_p3": _vit,
    "bert": _bert,
    "qwen3": _qwen3,
}


def random_graph(seed: int) -> NeuralGraph:
    """A graph with every kind of block: dense, diagonal, kernels, transposed, one source, auxiliary, doubled edges."""
    draw = np.random.default_rng(seed)
    sizes = [int(n) for n in draw.integers(1, 9, size=6)]
    starts = np.cumsum([0, *sizes])
    groups = {f"g{i}": Nodes(int(start), size) for i, (start, size) in enumerate(zip(starts, sizes, strict=False))}
    nodes, blocks, parameters, offset = list(groups.values()), [], [], 0
    for i in range(14):
        source, target = nodes[int(draw.integers(6))], nodes[int(draw.integers(6))]
        diagonal, auxiliary = bool(draw.integers(2)), draw.random() < 0.3
        features = int(draw.choice([1, 1, 2, 9]))
        if diagonal:
            size = min(source.size, target.size)
            source, target = source[:size], target[:size]
        kind = "diagonal" if diagonal else "dense"
        if auxiliary:
            edge_type = EdgeType.HEAD if draw.integers(2) else EdgeType.RESIDUAL
            blocks.append(Block(f"aux{i}", source, target, edge_type, kind))
            continue
        s, t = source.size, 1 if diagonal else target.size
        strides = (t * features, features, 1) if draw.integers(2) else (features, s * features, 1)
        strides = (features, 0, 1) if diagonal else strides
        edge_type = EdgeType(int(draw.integers(1, 10)))
        blocks.append(Block(f"p{i}", source, target, edge_type, kind, WeightView(offset, strides), features))
        parameters.append(Parameter(f"p{i}", offset, (s * t, features)))
        offset += s * t * features
    return NeuralGraph(groups, tuple(blocks), tuple(parameters), int(starts[-1]))


def lively(net: nn.Module, seed: int = 0) -> nn.Module:
    """Weights large enough that every term of a network shows in its predictions."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * (0.5 if p.ndim == 1 else 1.5 / p.shape[-1] ** 0.5))
    return net


def history(parameters: int, states: int = 5, seed: int = 0) -> Tensor:
    """Parameters on noisy lines: (P, c)."""
    generator = torch.Generator().manual_seed(seed)
    start, slope, noise = (torch.randn(parameters, n, generator=generator) for n in (1, 1, states))
    return start + 0.05 * slope * torch.arange(states) + 0.02 * noise
