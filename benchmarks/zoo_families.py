"""The families that must work, in small versions: the kind and name of each, and how to build it with an example."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

from benchmarks.zoo_models import Built, Model, images, torchvision_model

IDS = torch.arange(14).view(2, 7)

#: Model types of transformers.
TYPES = (
    "gpt2", "llama", "qwen2", "qwen3", "mistral", "gemma", "gemma2", "phi3", "opt", "gpt_neox", "smollm3", "bert",
    "roberta", "distilbert", "electra", "t5", "bart", "clip", "whisper", "wav2vec2", "mixtral", "qwen2_moe",
    "qwen3_moe", "mamba",
)  # fmt: skip
#: Models of timm, with what makes them small.
TIMM: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": {"img_size": 32, "patch_size": 8, "depth": 2},
    "deit_tiny_distilled_patch16_224": {"img_size": 32, "patch_size": 8, "depth": 2},
    "convnext_atto": {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)},
    "swin_tiny_patch4_window7_224": {"img_size": 64, "window_size": 4, "depths": (2, 2), "embed_dim": 24,
                                     "num_heads": (2, 4)},
    "mixer_s32_224": {"img_size": 64},
    "resnet18": {}, "efficientnet_lite0": {}, "regnetx_002": {}, "mobilenetv3_small_050": {},
}  # fmt: skip
TORCHVISION = ("swin_t", "maxvit_t", "densenet121", "inception_v3", "fcn_resnet50", "deeplabv3_mobilenet_v3_large",
               "lraspp_mobilenet_v3_large", "r3d_18", "mvit_v2_s", "s3d", "swin3d_t")  # fmt: skip


def families() -> Iterator[Model]:
    """All of them."""
    for name, build in BY_HAND.items():
        yield Model("by hand", name, build)
    for kind in TYPES:
        yield Model("transformers", kind, partial(_type, kind))
    for name in TIMM:
        yield Model("timm", name, partial(_timm, name))
    for name in TORCHVISION:
        yield Model("torchvision", name, partial(torchvision_model, name))
    for name, wrap in WRAPPED.items():
        yield Model("wrapped", name, wrap)
    yield Model("111M", "llama-6-384", _large)


def _type(kind: str) -> Built:
    from benchmarks.zoo_configs import tiny

    return tiny(kind)


def _timm(name: str) -> Built:
    import timm

    model = timm.create_model(name, num_classes=10, **TIMM[name])
    return model, images(TIMM[name].get("img_size", 64))


def _large() -> Built:
    from benchmarks.models import build

    return build("llama-6-384"), {"input_ids": IDS}


# -- wrapped and changed -----------------------------------------------------------------------------------------------


def _adapted(kind: str) -> Built:
    import peft

    model, example = _type(kind)
    target = ["c_attn"] if kind == "gpt2" else ["q_proj", "v_proj"]
    config = peft.LoraConfig(r=2, target_modules=target, fan_in_fan_out=kind == "gpt2")
    return peft.get_peft_model(model, config), example


def _compiled() -> Built:
    model, x = _perceptron()
    return torch.compile(model), x  # type: ignore[return-value]


def _distributed() -> Built:
    from torch import distributed

    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    model, x = _perceptron()
    return nn.parallel.DistributedDataParallel(model), x


def _meta() -> Built:
    model, example = _type("llama")
    return model.to("meta"), example


def _half() -> Built:
    model, example = _type("llama")
    return model.bfloat16(), example


WRAPPED: dict[str, Callable[[], Built]] = {
    "LoRA on GPT-2": partial(_adapted, "gpt2"),
    "LoRA on Llama": partial(_adapted, "llama"),
    "torch.compile": _compiled,
    "DistributedDataParallel": _distributed,
    "Llama on the meta device": _meta,
    "Llama in bfloat16": _half,
}


# -- by hand -----------------------------------------------------------------------------------------------------------


class Forward(nn.Module):
    """Layers by name, and a forward over them."""

    def __init__(self, forward: Callable[..., Any], **layers: Any) -> None:
        """See the class."""
        super().__init__()
        self.run = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, *inputs: Tensor) -> Any:
        """Whatever was given."""
        return self.run(self, *inputs)


def _perceptron() -> Built:
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(4, 6)


class ModdedBlock(nn.Module):
    """Rotary attention with normed queries and keys and values from an embedding, and a squared ReLU."""

    def __init__(self, d: int, heads: int, words: int) -> None:
        """``d`` is a multiple of ``heads``."""
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(d, d, bias=False) for _ in range(4))
        self.up, self.down = nn.Linear(d, 4 * d, bias=False), nn.Linear(4 * d, d, bias=False)
        self.values, self.mix = nn.Embedding(words, d), nn.Parameter(torch.tensor([0.5, 0.5]))

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        """(B, T, d) to (B, T, d)."""
        h = F.rms_norm(x, (x.shape[-1],))
        q, k, v = (layer(h).unflatten(-1, (self.heads, -1)) for layer in (self.q, self.k, self.v))
        v = self.mix[0] * v + self.mix[1] * self.values(ids).view_as(v)
        q, k = (_turned(F.rms_norm(t, (t.shape[-1],))) for t in (q, k))
        y = F.scaled_dot_product_attention(*(t.transpose(1, 2) for t in (q, k, v)), is_causal=True)
        x = x + self.o(y.transpose(1, 2).flatten(2))
        return x + self.down(F.relu(self.up(F.rms_norm(x, (x.shape[-1],)))).square())


def _turned(x: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    angles = torch.outer(torch.arange(x.shape[1], dtype=x.dtype), 1e3 ** -torch.linspace(0, 1, half, dtype=x.dtype))
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    one, two = x.chunk(2, dim=-1)
    return torch.cat([one * cos + two * sin, two * cos - one * sin], -1)


def _modded_forward(m: Any, ids: Tensor) -> Tensor:
    x = F.rms_norm(m.wte(ids), (16,))
    for block in m.blocks:
        x = block(x, ids)
    logits = m.head(F.rms_norm(x, (16,)))
    return 15 * torch.tanh(logits / 15)


def _modded() -> Built:
    blocks = nn.ModuleList(ModdedBlock(16, 4, 23) for _ in range(2))
    head = nn.Linear(16, 23, bias=False)
    return Forward(_modded_forward, wte=nn.Embedding(23, 16), blocks=blocks, head=head), IDS


def _nanogpt() -> Built:
    from benchmarks.nanogpt import GPT

    return GPT(23, 16, 2, 4, 16), IDS


def _unet() -> Built:
    def forward(m: Any, x: Tensor) -> Tensor:
        a = m.d1(x)
        return m.o(m.u1(torch.cat([m.up(m.d2(F.max_pool2d(a, 2))), a], 1)))

    def stage(i: int, o: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU())

    up = nn.ConvTranspose2d(16, 8, 2, 2)
    return Forward(forward, d1=stage(3, 8), d2=stage(8, 16), up=up, u1=stage(16, 8), o=nn.Conv2d(8, 2, 1)), images(16)


def _recurrent(kind: type[nn.RNNBase]) -> Built:
    net = kind(6, 8, 2, batch_first=True, bidirectional=True)  # type: ignore[call-arg]
    return Forward(lambda m, x: m.b(m.a(x)[0]), a=net, b=nn.Linear(16, 3)), torch.randn(4, 5, 6)


def _gcn() -> Built:
    from torch_geometric.nn import GCN

    return GCN(5, 8, 2, 3), (torch.randn(4, 5), torch.tensor([[0, 1, 2, 3, 1], [1, 2, 3, 0, 3]]))


def _normed(how: Callable[[nn.Module], nn.Module]) -> Built:
    return nn.Sequential(how(nn.Linear(6, 8)), nn.ReLU(), nn.Linear(8, 3)), torch.randn(4, 6)


def _pruned() -> Built:
    model, x = _perceptron()
    prune.l1_unstructured(model[0], "weight", 0.5)  # type: ignore[index]
    return model, x


def _gated(act: Callable[[Tensor], Tensor]) -> Built:
    def forward(m: Any, x: Tensor) -> Tensor:
        gate, value = m.a(x).chunk(2, -1)
        return m.b(act(gate) * value)

    return Forward(forward, a=nn.Linear(6, 16), b=nn.Linear(8, 3)), torch.randn(4, 6)


BY_HAND: dict[str, Callable[[], Built]] = {
    "nanoGPT": _nanogpt,
    "modded-nanoGPT": _modded,
    "U-Net": _unet,
    "LSTM": partial(_recurrent, nn.LSTM),
    "GRU": partial(_recurrent, nn.GRU),
    "nn.Transformer": lambda: (
        nn.Transformer(8, 2, 1, 1, 12, batch_first=True),
        (torch.randn(2, 3, 8), torch.randn(2, 4, 8)),
    ),
    "nn.MultiheadAttention, other key and value sizes": lambda: (
        nn.MultiheadAttention(8, 2, kdim=5, vdim=6),
        (torch.randn(3, 2, 8), torch.randn(4, 2, 5), torch.randn(4, 2, 6)),
    ),
    "PyG's GCN": _gcn,
    "weight_norm": partial(_normed, parametrizations.weight_norm),
    "spectral_norm": partial(_normed, parametrizations.spectral_norm),
    "pruning": _pruned,
    "GLU": partial(_gated, torch.sigmoid),
    "GEGLU": partial(_gated, F.gelu),
    "SwiGLU": partial(_gated, F.silu),
}
