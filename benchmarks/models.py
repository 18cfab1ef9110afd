"""Models by name, and parameter states for them without training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nino.device import pins_memory
from nino.tasks.torchvision_ops import declare_missing_operators

GPT2 = {  # layers, width, heads
    "gpt2-1-8": (1, 8, 2),  # for trying the scripts out
    "gpt2-3-24": (3, 24, 3),
    "gpt2-3-64": (3, 64, 4),
    "gpt2-4-128": (4, 128, 4),
    "gpt2-6-384": (6, 384, 6),
    "gpt2-12-768": (12, 768, 12),
}
LLAMA = {  # layers, width, heads, kv heads, ff, tied
    "llama-6-384": (6, 384, 6, 2, 1536, False),
    "llama-3.2-1b": (16, 2048, 32, 8, 8192, True),
}
NAMES = ("fm-16", *GPT2, *LLAMA)


def build(name: str, device: str = "cpu") -> nn.Module:
    """A model with its usual initialisation.

    Args:
        name: one of ``NAMES``.
        device: where its parameters lie; ``meta`` for none.

    Raises:
        ValueError: for an unknown name.
    """
    with torch.device(device):
        if name == "fm-16":
            convs = [nn.Conv2d(1, 16, 3, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 1, 1), nn.ReLU()]
            head = [nn.Conv2d(32, 32, 3, 1, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)]
            return nn.Sequential(*convs, *head)
        declare_missing_operators()
        if name in GPT2:
            from transformers import GPT2Config, GPT2LMHeadModel

            layers, width, heads = GPT2[name]
            return GPT2LMHeadModel(GPT2Config(n_layer=layers, n_embd=width, n_head=heads))
        if name in LLAMA:
            from transformers import LlamaConfig, LlamaForCausalLM

            layers, width, heads, kv_heads, ff, tied = LLAMA[name]
            return LlamaForCausalLM(
                LlamaConfig(
                    num_hidden_layers=layers,
                    hidden_size=width,
                    num_attention_heads=heads,
                    num_key_value_heads=kv_heads,
                    intermediate_size=ff,
                    vocab_size=128256,
                    tie_word_embeddings=tied,
                )
            )
    raise ValueError(f"`name` (={name!r}) must be one of {', '.join(NAMES)}")


def history(model: nn.Module, states: int = 5, dtype: torch.dtype = torch.float32, place: str = "host") -> Tensor:
    """States of a model as the wrapper keeps them: a (c, P) buffer, seen as (P, c).

    Args:
        model: its parameters take a random walk, in place, by about a hundredth of their size a state.
        states: c.
        dtype: of the states.
        place: ``host`` (page-locked where the model's device can have it) or ``device`` (beside the model).
    """
    parameters = [p.detach() for p in model.parameters()]
    device, size = parameters[0].device, sum(p.numel() for p in parameters)
    if place == "device":
        buffer = torch.empty(states, size, dtype=dtype, device=device)
    else:
        buffer = torch.empty(states, size, dtype=dtype, pin_memory=pins_memory(device))
    for row in buffer:
        for part, p in zip(row.split([p.numel() for p in parameters]), parameters, strict=True):
            p.add_(torch.randn_like(p), alpha=2e-4)
            part.copy_(p.flatten())
    return buffer.T
