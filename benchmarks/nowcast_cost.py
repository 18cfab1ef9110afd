"""What a nowcast costs a training: history, seconds, memory, and how many steps it has to save to pay for itself.

For each model a table row: parameters P, bytes of the five saved states, seconds of a base step at the given batch,
seconds of the first nowcast (graph positions are computed once) and of later ones, peak memory above that of training
itself, and the break-even: base steps that take as long as one later nowcast. One runs in a process of its own.

    python benchmarks/nowcast_cost.py                              # untrained NiNo of hidden size 128, CPU
    python benchmarks/nowcast_cost.py --ckpt nino --models gpt2-3-64 --device cuda
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from nino import NiNo
from nino.measure import most_bytes, wall_clock
from nino.nowcasters import build_nowcaster, load_nowcaster

SIZES = {  # layers, width, heads of GPT-2s; the paper's, and larger ones
    "gpt2-3-24": (3, 24, 3),
    "gpt2-3-64": (3, 64, 4),
    "gpt2-4-128": (4, 128, 4),
    "gpt2-6-384": (6, 384, 6),
    "gpt2-12-768": (12, 768, 12),
}
MODELS = ["convnet", *SIZES]


def build(name: str, batch: int) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A model, inputs and targets."""
    if name == "convnet":
        convs = [nn.Conv2d(1, 16, 3, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 1, 1), nn.ReLU(), nn.Conv2d(32, 32, 3, 1, 1)]
        model = nn.Sequential(*convs, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))
        return model, torch.randn(batch, 1, 28, 28), torch.randint(10, (batch,))
    from nino.tasks.torchvision_ops import declare_missing_operators

    declare_missing_operators()
    from transformers import GPT2Config, GPT2LMHeadModel

    layers, width, heads = SIZES[name]
    ids = torch.randint(50257, (batch, 128))
    return GPT2LMHeadModel(GPT2Config(n_layer=layers, n_embd=width, n_head=heads)), ids, ids


def measure(name: str, ckpt: str | None, device: str, batch: int) -> dict[str, float | int | str]:
    """One row."""
    torch.manual_seed(0)
    model, inputs, targets = build(name, batch)
    model, inputs, targets = model.to(device), inputs.to(device), targets.to(device)
    nowcaster = load_nowcaster(ckpt) if ckpt else build_nowcaster("nino", hidden=128)
    opt = NiNo(torch.optim.AdamW(model.parameters(), lr=1e-4), None, model, 5, 20, nowcaster=nowcaster, verbose=False)
    seconds, nowcasts, before = [], [], 0
    for _ in range(15):
        start = wall_clock(device)
        if opt.need_grads:
            opt.zero_grad()
            outputs = model(inputs) if name == "convnet" else model(input_ids=inputs, labels=targets).loss
            loss = F.cross_entropy(outputs, targets) if name == "convnet" else outputs
            loss.backward()
            opt.step()
            seconds.append(wall_clock(device) - start)
        else:
            before = before or most_bytes(device)
            opt.step()
            assert opt.last_nowcast is not None and opt.last_nowcast.seconds is not None
            nowcasts.append(opt.last_nowcast.seconds)
    after = most_bytes(device)
    step = sorted(seconds)[len(seconds) // 2]
    return {
        "model": name,
        "parameters": sum(p.numel() for p in model.parameters()),
        "history_bytes": opt.history.nbytes,
        "step_seconds": step,
        "first_nowcast_seconds": nowcasts[0],
        "nowcast_seconds": min(nowcasts[1:]),
        "nowcast_bytes": after - before,
        "break_even_steps": min(nowcasts[1:]) / step,
        "batch": batch,
        "device": device,
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    """Print a Markdown table and, where asked, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS[:3])
    parser.add_argument("--ckpt", help="a nowcaster's file or known name; default: an untrained one of hidden size 128")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=32, help="examples a base step (128 tokens each for GPT-2)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, help="JSON file for the rows")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.row:
        print(json.dumps(measure(args.row, args.ckpt, args.device, args.batch)))
        return
    rows = []
    print("| model | parameters | history | base step | first nowcast | nowcast | its memory | break-even |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name in args.models:
        command = [sys.executable, __file__, "--row", name, "--device", args.device, "--batch", str(args.batch)]
        command += ["--threads", str(args.threads)] + (["--ckpt", args.ckpt] if args.ckpt else [])
        row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        rows.append(row)
        print(
            f"| {name} | {row['parameters']:,} | {row['history_bytes'] / 2**20:.1f} MiB | "
            f"{row['step_seconds']:.3f} s | {row['first_nowcast_seconds']:.2f} s | {row['nowcast_seconds']:.2f} s | "
            f"{row['nowcast_bytes'] / 2**20:.0f} MiB | {row['break_even_steps']:.1f} steps |",
            flush=True,
        )
    if args.out:
        args.out.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
