"""The exact topology: renumbering neurons maps the graph onto itself if, and only if, it keeps the function."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nino.graphs import neural_graph
from tests.graphs import conftest as small
from tests.graphs import symmetries
from tests.graphs.isomorphism import flat, isomorphic
from tests.graphs.symmetries import Symmetries, apply

SAMPLES = 25
Case = tuple[nn.Module, Symmetries, Callable[[nn.Module], Tensor]]


class Residual(nn.Module):
    """Residual, grouped and depth-wise convolutions, batch and group norm, flattened positions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.conv1 = nn.Sequential(nn.Conv2d(8, 6, 5, padding=2), nn.GroupNorm(3, 6), nn.ReLU())
        self.conv2 = nn.Sequential(nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.depth = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.grouped = nn.Conv2d(8, 4, 1, groups=2)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.head = nn.Sequential(nn.Linear(16, 5), nn.LayerNorm(5), nn.GELU(), nn.Linear(5, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.relu(x + self.conv2(self.conv1(x)))
        return self.head(self.pool(self.grouped(self.depth(x))).flatten(1))


def residual() -> Case:
    s = Symmetries({}, {})
    statistics = ("weight", "bias", "running_mean", "running_var")
    channels = [("stem.0.weight", 0, 0), *((f"stem.1.{p}", 0, 0) for p in statistics), ("conv1.0.weight", 1, 0)]
    channels += [("conv2.0.weight", 0, 0), ("conv2.0.bias", 0, 0), *((f"conv2.1.{p}", 0, 0) for p in statistics)]
    channels += [("depth.weight", 0, 0), ("depth.bias", 0, 0)]
    s.space("channels", 8, channels)
    s.space(
        "norm groups",
        6,
        [(f"conv1.{m}", 0, 0) for m in ("0.weight", "0.bias", "1.weight", "1.bias")] + [("conv2.0.weight", 1, 0)],
    )

    def groups(rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"norm groups": np.concatenate([2 * g + rng.permutation(2) for g in rng.permutation(3)])}

    s.samplers.append(groups)

    def grouped(rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Both groups' inputs in the same order (one tensor holds them), groups swapped, outputs free in a group."""
        reads, halves = rng.permutation(4), rng.permutation(2)
        outputs = np.concatenate([2 * half + rng.permutation(2) for half in halves])
        return {
            "channels": np.concatenate([4 * half + reads for half in halves]),
            "grouped reads": reads,
            "grouped": outputs,
            "features": (4 * outputs[:, None] + np.arange(4)).reshape(-1),
        }

    s.space("grouped reads", 4, [("grouped.weight", 1, 0)])
    s.space("grouped", 4, [("grouped.weight", 0, 0), ("grouped.bias", 0, 0)])
    s.space("features", 16, [("head.0.weight", 1, 0)])
    s.samplers.append(grouped)
    s.free(
        "hidden",
        5,
        [(f"head.{m}", 0, 0) for m in ("0.weight", "0.bias", "1.weight", "1.bias")] + [("head.3.weight", 1, 0)],
    )
    return (
        Residual(),
        s,
        lambda m: m(torch.randn(3, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))),
    )


def convnet() -> Case:
    model, s = small.convnet(3, 5, 6, 4, norm=True), Symmetries({}, {})
    for i, (layer, size) in enumerate([(0, 5), (3, 6), (6, 4)]):
        uses = [(f"fc.{layer}.weight", 0, 0)] + [(f"fc.{layer}.bias", 0, 0)] * (i > 0)
        uses += [(f"fc.{layer + 1}.{p}", 0, 0) for p in ("weight", "bias", "running_mean", "running_var")]
        s.free(f"conv{i}", size, [*uses, (f"fc.{(3, 6, 11)[i]}.weight", 1, 0)])
    return (
        model,
        s,
        lambda m: m(torch.randn(3, 3, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))),
    )


def mlp() -> Case:
    s = Symmetries({}, {})
    s.free("h1", 6, [("0.weight", 0, 0), ("0.bias", 0, 0), ("2.weight", 1, 0)])
    s.free("h2", 7, [("2.weight", 0, 0), ("2.bias", 0, 0), ("4.weight", 1, 0)])
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 3))
    return model, s, lambda m: m(torch.randn(9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))


def _words(m: nn.Module) -> Tensor:
    words = torch.randint(0, 17, (3, 5), generator=torch.Generator().manual_seed(0))
    return m(input_ids=words)[0]


def gpt2(**options: object) -> Case:
    untied = options.get("tie_word_embeddings") is False
    return small.gpt2(12, 2, 4, 17, 5, **options), symmetries.gpt2(2, 4, 12, untied), _words


def llama(kind: str = "Llama", heads: int = 6, kv: int = 2, tied: bool = False, **options: object) -> Case:
    model = small.llama(24, 2, heads, kv, 10, 17, kind, tied, **options)
    names = {name for name, _ in model.named_parameters()}
    return model, symmetries.llama(2, heads, kv, 24 // heads, 24, 10, names, tied), _words


def bert() -> Case:
    e, p, n = "bert.embeddings", "cls.predictions.transform", "bert.encoder.layer.{}"
    stream = [(f"{e}.{t}_embeddings.weight", 1, 0) for t in ("word", "position", "token_type")]
    stream += [(f"{e}.LayerNorm.weight", 0, 0), (f"{e}.LayerNorm.bias", 0, 0), (f"{p}.dense.weight", 1, 0)]
    # The decoder is tied to the word embedding, whose columns are the stream's: the transform's neurons are, too.
    stream += [(f"{p}.{t}", 0, 0) for t in ("dense.weight", "dense.bias", "LayerNorm.weight", "LayerNorm.bias")]
    parts = {q[0]: f"{n}.attention.self.{q}" for q in ("query", "key", "value")}
    parts |= {"o": f"{n}.attention.output.dense", "norm1": f"{n}.attention.output.LayerNorm"}
    parts |= {"in": f"{n}.intermediate.dense", "out": f"{n}.output.dense", "norm2": f"{n}.output.LayerNorm"}
    return small.bert(vocab_size=17), symmetries.encoder(2, 3, 12, 24, stream, parts), _words


def _image(m: nn.Module) -> Tensor:
    side = 9 if any(p.shape[-1] == 3 for p in m.parameters() if p.ndim == 4) else 12
    out = m(torch.randn(2, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    return out if isinstance(out, Tensor) else out[0]


def vit(patch: int = 4) -> Case:
    e, n = "vit.embeddings", "vit.layers.{}"
    stream = [(f"{e}.cls_token", 2, 0), (f"{e}.position_embeddings", 2, 0)]
    stream += [(f"{e}.patch_embeddings.projection.weight", 0, 0), (f"{e}.patch_embeddings.projection.bias", 0, 0)]
    stream += [("vit.layernorm.weight", 0, 0), ("vit.layernorm.bias", 0, 0), ("classifier.weight", 1, 0)]
    parts = {q: f"{n}.attention.{q}_proj" for q in "qkvo"}
    parts |= {
        "norm1": f"{n}.layernorm_before",
        "norm2": f"{n}.layernorm_after",
        "in": f"{n}.mlp.fc1",
        "out": f"{n}.mlp.fc2",
    }
    return small.vit(patch=patch), symmetries.encoder(2, 2, 16, 32, stream, parts), _image


def pooled_vit() -> Case:
    """The body alone: its output is the stream, which must keep its order."""
    model, (_, s, _) = small.vit("ViTModel"), vit()
    rename = {name: [(use[0].removeprefix("vit."), *use[1:]) for use in uses] for name, uses in s.uses.items()}
    whole = Symmetries(s.sizes, {name: uses for name, uses in rename.items() if name != "stream"}, s.samplers)
    whole.samplers = [lambda rng, f=f: {k: v for k, v in f(rng).items() if k != "stream"} for f in s.samplers]
    return model, whole, _image


def torchvision_vit() -> Case:
    n = "encoder.layers.encoder_layer_{}"
    stream = [
        ("class_token", 2, 0),
        ("encoder.pos_embedding", 2, 0),
        ("conv_proj.weight", 0, 0),
        ("conv_proj.bias", 0, 0),
    ]
    stream += [("encoder.ln.weight", 0, 0), ("encoder.ln.bias", 0, 0), ("heads.head.weight", 1, 0)]
    s = Symmetries({}, {})
    for i in range(2):
        m = n.format(i)
        a = f"{m}.self_attention"
        stream += [
            (f"{m}.{t}", 0, 0)
            for t in ("ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias", "mlp.3.weight", "mlp.3.bias")
        ]
        stream += [(f"{a}.in_proj_weight", 1, 0), (f"{m}.mlp.0.weight", 1, 0)]
        stream += [(f"{a}.out_proj.weight", 0, 0), (f"{a}.out_proj.bias", 0, 0)]
        fused = {p: [(f"{a}.in_proj_weight", 0, 16 * j), (f"{a}.in_proj_bias", 0, 16 * j)] for j, p in enumerate("qkv")}
        symmetries.attention(s, m, 2, 2, 8, fused | {"o": [(f"{a}.out_proj.weight", 1, 0)]})
        s.free(f"{m}.mlp", 32, [(f"{m}.mlp.0.weight", 0, 0), (f"{m}.mlp.0.bias", 0, 0), (f"{m}.mlp.3.weight", 1, 0)])
    s.free("stream", 16, stream)
    return small.torchvision_vit(4), s, _image


CASES: dict[str, Callable[[], Case]] = {
    "mlp": mlp,
    "convnet": convnet,
    "residual": residual,
    "gpt2": gpt2,
    "gpt2 untied": lambda: gpt2(tie_word_embeddings=False),
    "llama grouped": llama,
    "llama tied, biases": lambda: llama(tied=True, attention_bias=True, mlp_bias=True),
    "llama ungrouped": lambda: llama(kv=6),
    "qwen3": lambda: llama("Qwen3"),
    "qwen3 ungrouped": lambda: llama("Qwen3", kv=6),
    "qwen2": lambda: llama("Qwen2"),
    "mistral": lambda: llama("Mistral"),
    "gemma": lambda: llama("Gemma", tied=True),
    "bert": bert,
    "vit": vit,
    "vit patch 3": lambda: vit(3),
    "vit body": pooled_vit,
    "torchvision vit": torchvision_vit,
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    """A model in float64 with weights that are all different, its symmetries, and how to run it."""
    torch.manual_seed(0)
    model, s, run = CASES[request.param]()
    model = model.double().eval()
    with torch.no_grad():
        for name, p in [*model.named_parameters(), *model.named_buffers()]:
            if p.is_floating_point() and "inv_freq" not in name:
                p.copy_(
                    torch.rand_like(p) + 0.5 if "running_var" in name else torch.randn_like(p) * 0.4 + (p.ndim == 1)
                )
    return model, s, run


def _difference(run: Callable[[nn.Module], Tensor], model: nn.Module, other: nn.Module) -> float:
    """Largest difference of outputs, relative to the largest output (RMSNorms compute in float32 whatever they get)."""
    with torch.no_grad():
        reference = run(model)
        return float((run(other) - reference).abs().max() / reference.abs().max())


def test_renumbering_that_keeps_the_function_maps_the_graph_onto_itself(case: Case) -> None:
    model, s, run = case
    graph, rng = neural_graph(model, "exact"), np.random.default_rng(0)
    for _ in range(SAMPLES):
        other = apply(model, s.preserving(rng), s.uses)
        assert _difference(run, model, other) < 1e-4
        assert isomorphic(graph, flat(model), flat(other))


def test_renumbering_that_changes_the_function_does_not(case: Case) -> None:
    model, s, run = case
    model = deepcopy(model)
    for name, statistic in model.named_buffers():  # no parameters, so no edges: the same for all channels here
        if "running" in name:
            statistic.fill_(1.0)
    graph, rng = neural_graph(model, "exact"), np.random.default_rng(1)
    changed = 0
    for _ in range(2 * SAMPLES):
        other = apply(model, *s.changing(rng))
        if _difference(run, model, other) > 1e-3:
            changed += 1
            assert not isomorphic(graph, flat(model), flat(other))
    assert changed > SAMPLES // 2
