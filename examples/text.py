"""A small GPT on a text file of yours, byte by byte, with AdamW and with NiNo.

    python examples/text.py my.txt               # writes text.png
    python examples/text.py my.txt --steps 4000 --width 128

Nothing about the model is declared to NiNo: its neural graph is recorded in the first forward pass. NiNo's published
weights are downloaded once (or lie in NINO_CACHE).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from matplotlib import pyplot as plt
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, scaled_dot_product_attention

from nino import NiNo
from nino.nowcasters import load_nowcaster

BLOCK, BATCH, BYTES, HEADS = 64, 16, 256, 4


class Layer(nn.Module):
    """Causal attention and an MLP, each after a norm and added to the residual stream."""

    def __init__(self, width: int) -> None:
        """Make the weights."""
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, block, width) -> the same."""
        batch, block, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, block, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, block, width))
        return x + self.down(gelu(self.up(self.norm2(x))))


class SmallGPT(nn.Module):
    """Bytes in, logits of the next byte out."""

    def __init__(self, layers: int, width: int) -> None:
        """Make the weights."""
        super().__init__()
        self.words, self.positions = nn.Embedding(BYTES, width), nn.Embedding(BLOCK, width)
        self.layers = nn.Sequential(*(Layer(width) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, BYTES, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, block) long -> (B, block, bytes)."""
        x = self.words(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device))
        return self.head(self.norm(self.layers(x)))


def blocks(text: Tensor, generator: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
    """Random blocks of the text and what follows each of their bytes."""
    starts = torch.randint(len(text) - BLOCK - 1, (count,), generator=generator)
    rows = torch.stack([text[start : start + BLOCK + 1] for start in starts.tolist()]).long()
    return rows[:, :-1], rows[:, 1:]


def loss_of(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Mean loss of a byte [nats]."""
    return cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten())


def train(args: argparse.Namespace, text: Tensor, held_out: tuple[Tensor, Tensor], with_nino: bool) -> list[float]:
    """Train and return the loss on held-out text [nats a byte] every ``args.every`` steps."""
    torch.manual_seed(args.seed)
    model = SmallGPT(args.layers, args.width)
    opt: torch.optim.Optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.01)
    if with_nino:
        opt = NiNo(opt, args.ckpt, model, args.period, args.steps, verbose=False)
    batches = torch.Generator().manual_seed(args.seed)
    losses = []
    for step in range(1, args.steps + 1):
        opt.zero_grad()
        loss_of(model, blocks(text, batches, BATCH)).backward()
        opt.step()
        if step % args.every == 0:
            with torch.no_grad():
                losses.append(loss_of(model, held_out).item())
    return losses


def main() -> None:
    """Train both, print when NiNo meets what AdamW ends with, draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="any text file, 100 kB or more")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--width", type=int, default=64, help="a multiple of 4")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--period", type=int, default=200, help="steps between nowcasts, a multiple of 5")
    parser.add_argument("--ckpt", default="nino_no_posw", help="a nowcaster's file, or a published name")
    parser.add_argument("--every", type=int, default=20, help="steps between measurements")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("text.png"))
    args = parser.parse_args()
    try:
        load_nowcaster(args.ckpt)  # before the minutes that Adam alone takes
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if not args.file.is_file():
        parser.error(f"{args.file}: no such file")
    text = torch.frombuffer(bytearray(args.file.read_bytes()), dtype=torch.uint8)
    if len(text) < 20 * BLOCK:
        parser.error(f"{args.file} has {len(text)} bytes: too few to train on, take 100 kB or more")
    cut = len(text) * 9 // 10
    held_out = blocks(text[cut:], torch.Generator().manual_seed(1), 64)
    curves = {name: train(args, text[:cut], held_out, name != "AdamW") for name in ("AdamW", "AdamW with NiNo")}
    steps = range(args.every, args.steps + 1, args.every)
    goal = min(curves["AdamW"])
    for name, losses in curves.items():
        reach = next((step for step, loss in zip(steps, losses, strict=True) if loss <= goal), None)
        print(f"{name}: {losses[-1]:.4f} nats a byte at the end; {goal:.4f} first met in step {reach}")
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for (name, losses), colour in zip(curves.items(), ("0.5", "C0"), strict=True):
        axes.plot(steps, losses, color=colour, label=name)
    axes.set(xlabel="step", ylabel="loss on held-out text [nats a byte]", yscale="log")
    axes.legend()
    figure.savefig(args.out, dpi=150)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
