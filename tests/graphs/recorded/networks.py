"""Forwards that rearrange neurons in every way that people write."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

from benchmarks.nanogpt import GPT

Case = tuple[nn.Module, object]
IMAGE = (2, 3, 8, 8)
TOKENS = (4, 8, 6)  # as many tokens as hidden neurons: sizes alone tell nothing


class Apply(nn.Module):
    """Layers by name, and a forward over them."""

    def __init__(self, forward: Callable[..., Tensor], **layers: nn.Module | nn.Parameter | Tensor) -> None:
        super().__init__()
        self.run = forward
        for name, layer in layers.items():
            if isinstance(layer, Tensor) and not isinstance(layer, nn.Parameter):
                self.register_buffer(name, layer)
            else:
                setattr(self, name, layer)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.run(self, *inputs)


class UNet(nn.Module):
    """Down, up, and a skip connection that is concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.deep = nn.Sequential(nn.Conv2d(6, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.SiLU())
        self.up, self.join = nn.ConvTranspose2d(8, 5, 2, 2), nn.Conv2d(11, 7, 3, padding=1)
        self.head = nn.Conv2d(7, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.down(x)
        deep = self.deep(F.max_pool2d(skip, 2))
        return self.head(torch.relu(self.join(torch.cat([self.up(deep), skip], 1))))


class ModdedGPT(nn.Module):
    """As in modded-nanogpt: RMS norm without scale, rotary half, ReLU squared, value embeddings, skips, untied head."""

    def __init__(self, words: int, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.heads, d = heads, width
        self.embed = nn.Embedding(words, d)
        self.value_embeds = nn.ModuleList(nn.Embedding(words, d) for _ in range(layers))
        self.qkv = nn.ParameterList(nn.Parameter(torch.randn(3, d, d) / d**0.5) for _ in range(layers))
        self.proj = nn.ModuleList(nn.Linear(d, d, bias=False) for _ in range(layers))
        self.fc = nn.ModuleList(nn.Linear(d, 4 * d, bias=False) for _ in range(layers))
        self.out = nn.ModuleList(nn.Linear(4 * d, d, bias=False) for _ in range(layers))
        self.lambdas = nn.ParameterList(nn.Parameter(torch.tensor([1.0, 0.5])) for _ in range(2 * layers))
        self.lm_head = nn.Linear(d, words, bias=False)

    def _turned(self, x: Tensor) -> Tensor:  # (batch, tokens, heads, width of a head)
        angles = torch.outer(torch.arange(x.size(1)).float(), torch.tensor([1.0, 0.0]))
        cos, sin = angles.cos()[None, :, None], angles.sin()[None, :, None]
        one, other = x.chunk(2, -1)
        return torch.cat([one * cos + other * sin, other * cos - one * sin], -1)

    def forward(self, ids: Tensor) -> Tensor:
        batch, tokens = ids.shape
        norm = lambda t: F.rms_norm(t, (t.size(-1),))  # noqa: E731
        x = first = norm(self.embed(ids))
        for i, weight in enumerate(self.qkv):
            x = self.lambdas[2 * i][0] * x + self.lambdas[2 * i][1] * first
            qkv = F.linear(norm(x), weight.flatten(end_dim=1)).view(batch, tokens, 3 * self.heads, -1)
            q, k, v = qkv.chunk(3, dim=-2)
            value = self.value_embeds[i](ids).view_as(v)
            v = self.lambdas[2 * i + 1][0] * v + self.lambdas[2 * i + 1][1] * value
            q, k = self._turned(norm(q)), self._turned(norm(k))
            y = F.scaled_dot_product_attention(*(t.transpose(1, 2) for t in (q, k, v)), is_causal=True)
            x = x + self.proj[i](y.transpose(1, 2).flatten(2))
            x = x + self.out[i](F.relu(self.fc[i](norm(x))).square())
        return 15 * torch.tanh(self.lm_head(norm(x)) / 15)


def tokens(forward: Callable[..., Tensor], **layers: nn.Module | nn.Parameter | Tensor) -> Case:
    """A network from 6 features through ``a`` (8 neurons) to 3."""
    defaults: dict[str, nn.Module] = {"a": nn.Linear(6, 8), "b": nn.Linear(8, 3)}
    return Apply(forward, **{**defaults, **layers}), torch.randn(TOKENS)


def image(forward: Callable[..., Tensor], **layers: nn.Module) -> Case:
    defaults = {"a": nn.Conv2d(3, 8, 3, padding=1), "b": nn.Conv2d(8, 2, 1)}
    return Apply(forward, **{**defaults, **layers}), torch.randn(IMAGE)


def _attention(m: nn.Module, x: Tensor, heads: int = 2) -> Tensor:
    x = m.a(x)
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in m.qkv(x).chunk(3, -1))
    y = (q @ k.transpose(-1, -2) / 2).softmax(-1) @ v
    return m.b(x + m.o(y.transpose(1, 2).flatten(2)))


def _fused(m: nn.Module, x: Tensor) -> Tensor:
    q, k, v = (t.unflatten(-1, (2, 4)).transpose(1, 2) for t in m.qkv(m.a(x)).split(8, -1))
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return m.b(y.transpose(1, 2).reshape(*x.shape[:2], 8))


def _grouped(m: nn.Module, x: Tensor) -> Tensor:
    x = m.a(x)
    q = m.q(x).view(4, 8, 4, 2).transpose(1, 2)
    k, v = (p(x).view(4, 8, 2, 2).transpose(1, 2).repeat_interleave(2, 1) for p in (m.k, m.v))
    y = F.scaled_dot_product_attention(q, k, v)
    return m.b(y.transpose(1, 2).reshape(4, 8, 8))


def _rotary(m: nn.Module, x: Tensor) -> Tensor:
    angles = torch.outer(torch.arange(8.0), torch.tensor([1.0, 0.1]))
    cos, sin = angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)

    def turned(t: Tensor) -> Tensor:
        t = F.rms_norm(t.view(4, 8, 2, 4).transpose(1, 2), (4,))
        return t * cos + torch.cat([-t[..., 2:], t[..., :2]], -1) * sin

    x = m.a(x)
    v = m.v(x).view(4, 8, 2, 4).transpose(1, 2)
    y = F.scaled_dot_product_attention(turned(m.q(x)), turned(m.k(x)), v, is_causal=True)
    return m.b(F.relu(m.o(y.transpose(1, 2).flatten(2))).square() * m.gain)


def _einsum(m: nn.Module, x: Tensor) -> Tensor:
    x = m.a(x)
    h = torch.einsum("btd,hdk->bthk", x, m.weight)
    return m.b(torch.einsum("bthk,hkd->btd", F.gelu(h), m.back))


def _written(m: nn.Module, x: Tensor) -> Tensor:
    x = m.a(x)
    out = torch.zeros(*x.shape[:2], 8)
    out[..., :4] = x[..., 4:]
    out[..., 4:] = x[..., :4].tanh()
    return m.b(out)


def _unrolled(m: nn.Module, x: Tensor) -> Tensor:
    h = torch.zeros(4, 8)
    for t in range(3):
        h = torch.tanh(m.a(x[:, t]) + m.h(h))
    return m.b(h)


def _pooled(m: nn.Module, x: Tensor) -> Tensor:
    x = m.a(x)
    gate = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
    return m.b(x * torch.sigmoid(m.g(gate)))


def _shuffled(m: nn.Module, x: Tensor) -> Tensor:
    return m.b(m.c(F.channel_shuffle(m.a(x), 2)))


def _branch(m: nn.Module, x: Tensor) -> Tensor:
    return m.b(torch.relu(m.a(x if x.sum() < 1e9 else -x)))


def _parts(m: nn.Module, x: Tensor) -> Tensor:
    x = m.a(x)
    return m.b(torch.cat([x[..., :2].relu(), x[..., 2:5] * 3, x[..., 5:].relu()], -1))


def _part_of_heads(m: nn.Module, x: Tensor) -> Tensor:
    h = m.a(x).unflatten(-1, (2, 4))
    return m.b(torch.stack([h[..., 0, :].relu(), h[..., 1, :]], -2).flatten(-2))


def _gated_by_a_part(m: nn.Module, x: Tensor) -> Tensor:
    x = m.a(x)
    return m.b(x * x[..., :4].mean(-1, keepdim=True))


def _written_sibling(m: nn.Module, x: Tensor) -> Tensor:
    x = m.a(x)
    first, whole, turned = x[..., :4], x[..., :], x.transpose(1, 2)
    first.relu_()
    return m.b(whole) + m.c(turned.transpose(1, 2))


def _overlapping(m: nn.Module, x: Tensor) -> Tensor:
    x = m.a(x)
    one, other = x[..., :4], x[..., 2:6]
    one.relu_()
    other.tanh_()
    return m.b(x) + m.c(other) + m.d(one)


def exact_cases() -> dict[str, Callable[[], Case]]:
    """Networks by name whose exact graphs must survive renumbering."""
    linear = nn.Linear
    attend = {"q": linear(8, 8), "k": linear(8, 8), "v": linear(8, 8), "o": linear(8, 8)}
    pruned = nn.Sequential(linear(8, 16), nn.ReLU(), linear(16, 4))
    prune.l1_unstructured(pruned[0], "weight", 0.5)
    return {
        "attention by hand": lambda: tokens(_attention, qkv=linear(8, 24), o=linear(8, 8)),
        "fused attention": lambda: tokens(_fused, qkv=linear(8, 24)),
        "grouped queries": lambda: tokens(_grouped, q=linear(8, 8), k=linear(8, 4), v=linear(8, 4)),
        "rotary, relu squared": lambda: tokens(_rotary, gain=nn.Parameter(torch.randn(())), **attend),
        "einsum with heads' weights": lambda: tokens(
            _einsum, weight=nn.Parameter(torch.randn(2, 8, 5)), back=nn.Parameter(torch.randn(2, 5, 8))
        ),
        "written in parts": lambda: tokens(_written),
        "unrolled in time": lambda: tokens(_unrolled, h=linear(8, 8)),
        "gated by pooled channels": lambda: image(_pooled, g=nn.Conv2d(2, 1, 7, padding=3)),
        "channels dealt out": lambda: image(_shuffled, c=nn.Conv2d(8, 8, 1, groups=2)),
        "branches on values": lambda: tokens(_branch),
        "parts treated apart": lambda: tokens(_parts),
        "a head treated apart": lambda: tokens(_part_of_heads),
        "softmax over a part": lambda: tokens(lambda m, x: m.b(_softmaxed(*m.a(x).chunk(2, -1)))),
        "gated by a part": lambda: tokens(_gated_by_a_part),
        "a part written in place": lambda: tokens(_written_sibling, c=linear(8, 3)),
        "overlapping parts written": lambda: tokens(_overlapping, c=linear(4, 3), d=linear(4, 3)),
        "softmax and norm over neurons": lambda: tokens(lambda m, x: m.b(m.n(m.a(x).softmax(-1))), n=nn.LayerNorm(8)),
        "gated linear unit": lambda: tokens(lambda m, x: m.b(F.glu(m.a(x), -1)), a=linear(6, 16)),
        "swiglu": lambda: tokens(lambda m, x: m.b(F.silu(m.a(x)) * m.up(x)), up=linear(6, 8)),
        "geglu, fused": lambda: tokens(lambda m, x: m.b(_geglu(*m.a(x).chunk(2, -1))), a=linear(6, 16)),
        "reglu, gate last": lambda: tokens(lambda m, x: m.b(m.up(x) * F.relu(m.a(x))), up=linear(6, 8)),
        "bilinear gate": lambda: tokens(lambda m, x: m.b(m.a(x) * m.up(x)), up=linear(6, 8)),
        "u-net": lambda: (UNet(), torch.randn(IMAGE)),
        "nanoGPT": lambda: (GPT(23, 9, 2, 2, 8), torch.randint(0, 23, (2, 7))),
        "modded nanoGPT": lambda: (ModdedGPT(23, 8, 2, 2), torch.randint(0, 23, (2, 7))),
        "chunk gate": lambda: tokens(lambda m, x: m.b(_gate(*m.a(x).chunk(2, -1))), a=linear(6, 16)),
        "tokens mixed": lambda: tokens(_mixed, t=linear(8, 8)),
        "convolution over tokens": lambda: tokens(_over_tokens, c=nn.Conv1d(8, 8, 3, padding=1)),
        "convolution over neurons": lambda: tokens(lambda m, x: m.b(m.c(m.a(x))), c=nn.Conv1d(8, 8, 3, padding=1)),
        "pooled over neurons": lambda: tokens(lambda m, x: m.b(F.avg_pool1d(m.a(x), 3, 1, 1))),
        "buffer added": lambda: tokens(lambda m, x: m.b(torch.relu(m.a(x) + m.table)), table=torch.randn(8, 8)),
        "rolled": lambda: tokens(lambda m, x: m.b(m.a(x).roll(1, -1))),
        "two towers": lambda: tokens(lambda m, x: (m.a(x) * m.c(x)).sum(-1), c=linear(6, 8)),
        "repeated": lambda: image(lambda m, x: m.b(m.a(x).repeat(1, 2, 1, 1)), b=nn.Conv2d(16, 2, 1)),
        "padded with channels": lambda: image(
            lambda m, x: m.b(F.pad(m.a(x), (0, 0, 0, 0, 2, 2))), b=nn.Conv2d(12, 2, 1)
        ),
        "pixel shuffle": lambda: image(lambda m, x: m.b(F.pixel_shuffle(m.a(x), 2)), b=nn.Conv2d(2, 2, 1)),
        "patches by unfold": lambda: tokens(lambda m, x: m.b(x.unfold(1, 4, 2).flatten(2)), b=linear(24, 3)),
        "kernels standardised as rows": lambda: image(_standardised, c=nn.Conv2d(8, 8, 3, bias=False)),
        "statistics of evaluation only": lambda: image(_evaluated, n=nn.BatchNorm2d(8)),
        "norm in groups": lambda: image(lambda m, x: m.b(m.n(m.a(x)).relu()), n=nn.GroupNorm(4, 8)),
        "lstm": lambda: (
            Apply(lambda m, x: m.b(m.a(x)[0]), a=nn.LSTM(6, 5, 2, bidirectional=True), b=linear(10, 3)),
            torch.randn(3, 2, 6),
        ),
        "gru": lambda: (Apply(lambda m, x: m.b(m.a(x)[0]), a=nn.GRU(6, 5), b=linear(5, 3)), torch.randn(3, 2, 6)),
        "encoder and decoder": lambda: (
            nn.Transformer(8, 2, 1, 1, 12, batch_first=True),
            (torch.randn(2, 3, 8), torch.randn(2, 4, 8)),
        ),
        "other key and value sizes": lambda: (
            nn.MultiheadAttention(8, 2, kdim=5, vdim=6),
            (torch.randn(3, 2, 8), torch.randn(4, 2, 5), torch.randn(4, 2, 6)),
        ),
        "weight norm": lambda: _normed(nn.Conv1d(4, 6, 3), nn.Conv1d(6, 2, 1)),
        "grouped and computed": lambda: _normed(nn.Conv1d(4, 8, 3, groups=2), nn.Conv1d(8, 2, 1), dim=2),
        "spectral norm": lambda: (
            nn.Sequential(parametrizations.spectral_norm(linear(4, 6)), nn.ReLU(), linear(6, 2)),
            torch.randn(3, 4),
        ),
        "pruned": lambda: (pruned, torch.randn(3, 8)),
        "weights merged from two": lambda: tokens(
            _low_rank, up=nn.Parameter(torch.randn(8, 2)), down=nn.Parameter(torch.randn(2, 6))
        ),
    }


def _evaluated(m: nn.Module, x: Tensor) -> Tensor:
    if m.training:
        raise ValueError("there are no targets")
    return m.b(F.relu(m.n(m.a(x if x.sum() < 1e9 else -x))))


def _standardised(m: nn.Module, x: Tensor) -> Tensor:
    weight = F.batch_norm(m.c.weight.reshape(1, 8, -1), None, None, training=True).reshape_as(m.c.weight)
    return m.b(F.relu(F.conv2d(m.a(x), weight)))


def _normed(first: nn.Module, second: nn.Module, dim: int = 0) -> Case:
    return nn.Sequential(parametrizations.weight_norm(first, dim=dim), nn.ReLU(), second), torch.randn(2, 4, 9)


def _gate(u: Tensor, v: Tensor) -> Tensor:
    return u * torch.sigmoid(v)


def _softmaxed(u: Tensor, v: Tensor) -> Tensor:
    return torch.cat([u.softmax(-1), v], -1)


def _geglu(u: Tensor, v: Tensor) -> Tensor:
    return F.gelu(u) * v


def _mixed(m: nn.Module, x: Tensor) -> Tensor:
    h = m.a(x)
    return m.b(h + m.t(h.transpose(1, 2)).transpose(1, 2))


def _over_tokens(m: nn.Module, x: Tensor) -> Tensor:
    return m.b(m.c(m.a(x).transpose(1, 2)).transpose(1, 2))


def _low_rank(m: nn.Module, x: Tensor) -> Tensor:
    return m.b(torch.relu(F.linear(x, m.a.weight + m.up @ m.down, m.a.bias)))
