"""Golden files, and the models that they were made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nino.tasks.torchvision_ops import declare_missing_operators

declare_missing_operators()

DATA = Path(__file__).resolve().parent.parent / "data"


def convnet(*channels: int, kernel: int = 3, norm: bool = False, classes: int = 10) -> nn.Module:
    layers: list[nn.Module] = []
    for i, (cin, cout) in enumerate(zip(channels, channels[1:], strict=False)):
        layers.append(nn.Conv2d(cin, cout, kernel, bias=not (norm and i == 0)))
        layers += [nn.BatchNorm2d(cout)] * norm + [nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels[-1], classes)]
    return Net(nn.Sequential(*layers))


class Net(nn.Module):
    def __init__(self, fc: nn.Module) -> None:
        super().__init__()
        self.fc = fc

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)


def gpt2(d: int, layers: int, heads: int, words: int, positions: int, **options: object) -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    options = {"bos_token_id": 0, "eos_token_id": 0, "resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0, **options}
    return GPT2LMHeadModel(
        GPT2Config(n_embd=d, n_layer=layers, n_head=heads, vocab_size=words, n_positions=positions, **options)
    )


def llama(
    d: int,
    layers: int,
    heads: int,
    kv: int,
    ff: int,
    words: int,
    kind: str = "Llama",
    tied: bool = False,
    **options: object,
) -> nn.Module:
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        hidden_size=d,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv,
        intermediate_size=ff,
        vocab_size=words,
        tie_word_embeddings=tied,
        max_position_embeddings=16,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
        **{"head_dim": d // heads, **options},
    )
    return getattr(transformers, f"{kind}ForCausalLM")(config)


def bert(kind: str = "BertForMaskedLM", **options: object) -> nn.Module:
    import transformers

    settings = {
        "hidden_size": 12,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "intermediate_size": 24,
        "vocab_size": 31,
        "max_position_embeddings": 9,
        "hidden_dropout_prob": 0,
        "attention_probs_dropout_prob": 0,
        **options,
    }
    return getattr(transformers, kind)(transformers.BertConfig(**settings))


def torchvision_vit(patch: int = 3) -> nn.Module:
    from torchvision.models import VisionTransformer

    return VisionTransformer(
        image_size=3 * patch,
        patch_size=patch,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=32,
        num_classes=5,
    )


def vit(kind: str = "ViTForImageClassification", patch: int = 4) -> nn.Module:
    import transformers

    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=3 * patch,
        patch_size=patch,
        num_labels=5,
        hidden_dropout_prob=0,
        attention_probs_dropout_prob=0,
    )
    return getattr(transformers, kind)(config)


GOLDEN: dict[str, Callable[[], nn.Module]] = {
    "tiny_convnet": lambda: convnet(1, 4, 6, 6),
    "tiny_gpt2": lambda: gpt2(6, 2, 2, 23, 5),
    "tiny_llama": lambda: llama(12, 2, 6, 2, 24, 17),
    "conv_4_6_6": lambda: convnet(1, 4, 6, 6),
    "conv_bn": lambda: convnet(3, 4, 6, norm=True),
    "mlp": lambda: Net(
        nn.Sequential(nn.Linear(49, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 10)),
    ),
    "gpt2_3_24": lambda: gpt2(24, 3, 3, 101, 16),
    "llama_untied": lambda: llama(24, 2, 6, 2, 48, 53),
    "vit_p3": torchvision_vit,
    "bert": bert,
    "qwen3": lambda: llama(12, 2, 6, 2, 24, 29, "Qwen3"),
}


@pytest.fixture(params=GOLDEN)
def golden(request: pytest.FixtureRequest) -> tuple[str, dict[str, np.ndarray], nn.Module]:
    """Name, arrays and model of a golden case; those that the repository does not hold come from ``shared``."""
    name = request.param
    path = DATA / f"{name}.npz"
    if not path.is_file():
        path = request.getfixturevalue("shared") / "golden" / f"{name}.npz"
    with np.load(path) as arrays:
        data = {key: arrays[key] for key in arrays.files}
    torch.manual_seed(0)
    return name, data, GOLDEN[name]()


@pytest.fixture(scope="session")
def models() -> dict[str, Callable[..., nn.Module]]:
    """Makers of small models."""
    return {
        "convnet": convnet,
        "gpt2": gpt2,
        "llama": llama,
        "bert": bert,
        "torchvision_vit": torchvision_vit,
        "vit": vit,
        "net": Net,
    }
