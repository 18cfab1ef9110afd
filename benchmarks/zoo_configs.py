"""Tiny models of transformers: one a model type, with small numbers in the place of its config's."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from benchmarks.zoo_inputs import candidates
from benchmarks.zoo_models import Built, Model, NotSmallError, drawn

#: Sizes by patterns of the names that configs give them; the first that fits counts.
SIZES: tuple[tuple[str, int], ...] = (
    (r"vocab_size$|^n_words$", 99),
    (r"num_kv_shared_layers|first_k_dense_replace", 0),
    (r"^n_group$|topk_group$", 1),
    (r"key_value_heads$|kv_heads$|^num_kv", 2),
    (r"attention_heads$|^n_heads?$|^num_heads?$|_num_heads$|_n_heads?$", 4),
    (r"rotary_dim$", 4),
    (r"head_dim$|^d_kv$|^d_head$|head_size$|attention_key_channels", 8),
    (r"experts_per_tok|top_?k$|topk|moe_k$", 2),
    (r"experts$|^moe_num_experts", 4),
    (r"layers?$|^n_layers?$|_depth$|^depth$|blocks$", 2),
    (r"(hidden_size|d_model|embed_dim|n_embd|^dim|embedding_size|projection_dim|embedding_dim|projection_hidden_size"
     r"|emb_dim|out_hidden_size|output_dim|d_embed|hidden_dim|feature_size)$", 32),
    (r"intermediate|ffn_dim|^d_ff$|^n_inner$|mlp_dim|mlp_hidden|feedforward|ffn_hidden", 48),
    (r"lora_rank|low_rank|rank$", 8),
    (r"image_size$|^img_size$", 32),
    (r"^patch_size$", 8),
    (r"window_size$", 4),
    (r"position_embeddings$|^n_positions$|max_seq_len$|^n_ctx$|max_sequence_length$", 64),
    (r"max_(source|target)_positions$", 64),
    (r"num_groups$", 8),
    (r"image_token_index|.*_token_id$|.*_token_index$", 0),
    (r"^prediction_length$", 8),
)  # fmt: skip
#: Largest number of parameters of what counts as small.
SMALL = 100_000_000
LEAST = {"layers": re.compile(r"layers?$|^n_layers?$|_depth$|^depth$|blocks$"), "vocab": re.compile("vocab_size$")}


def transformers_models() -> Iterator[Model]:
    """The language model (or else the bare model) of each model type."""
    from nino.tasks.torchvision_ops import declare_missing_operators

    declare_missing_operators()
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    tiny("llama")  # imports what every model needs, before processes are forked
    for kind in sorted(MODEL_MAPPING_NAMES):
        yield Model("model type", kind, partial(tiny, kind))


def tiny(kind: str) -> Built:
    """The first small model of a type that runs on one of its candidate inputs, with that input.

    Raises:
        NotSmallError: if there is none; says what stopped the attempts.
    """
    cls = _class(kind)
    complaints = []
    for shrink in (_small, _shallow):
        try:
            config = shrunk(cls.config_class(), shrink)
            with torch.device("meta"):
                number = sum(p.numel() for p in cls(config).parameters())
            if number > SMALL:
                raise ValueError(f"{number / 1e6:.0f}M parameters")
            model = cls(config).eval()
        except Exception as error:  # configs check themselves in every way
            complaints.append(f"{type(error).__name__}: {error}")
            continue
        for example in candidates(model):
            try:
                with torch.no_grad():
                    model(**drawn(example))
            except Exception as error:
                complaints.append(f"{type(error).__name__}: {error}")
                continue
            return model, drawn(example)
    raise NotSmallError(" | ".join(" ".join(c.split())[:120] for c in dict.fromkeys(complaints))[:360])


def _class(kind: str) -> Any:
    import transformers
    from transformers.models.auto import modeling_auto as auto

    for table in ("SEQ_TO_SEQ_CAUSAL_LM", "SPEECH_SEQ_2_SEQ", "CAUSAL_LM", "MASKED_LM"):
        name = getattr(auto, f"MODEL_FOR_{table}_MAPPING_NAMES").get(kind)
        if name is not None:
            return getattr(transformers, name)
    names = auto.MODEL_MAPPING_NAMES[kind]
    return getattr(transformers, names if isinstance(names, str) else names[0])


def shrunk(config: Any, shrink: Any) -> Any:
    """A config with its numbers shrunk, those of the configs in it too."""
    cls = type(config)
    usual = cls()
    changed: dict[str, Any] = {}
    for name in inspect.signature(cls.__init__).parameters:
        value = getattr(config, name, None)
        if name in ("self", "kwargs", "id2label", "label2id"):
            continue
        if hasattr(value, "to_dict") and hasattr(value, "model_type"):
            changed[name] = shrunk(value, shrink)
        elif (new := shrink(name, value)) is not None:
            changed[name] = new
        elif value != getattr(usual, name, None):
            changed[name] = value
    if "kv_lora_rank" in changed and "num_key_value_heads" in changed:  # latent attention has no groups of queries
        changed["num_key_value_heads"] = changed["num_attention_heads"]
    if "backbone_config" in inspect.signature(cls.__init__).parameters and getattr(config, "backbone", None) is None:
        changed.setdefault("backbone_config", _backbone())
    return cls(**changed)


def _backbone() -> Any:
    from transformers import ResNetConfig

    sizes = {"embedding_size": 16, "hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1]}
    return ResNetConfig(**sizes, out_features=["stage2", "stage3", "stage4"])


def _small(name: str, value: Any) -> Any:
    """A small number in the place of a config's; None leaves it."""
    if isinstance(value, list | tuple) and value and all(type(x) is int for x in value):
        if re.search("depths|num_blocks|layer_depths|layers$", name):
            return type(value)(1 for _ in value)
        if re.search("num_heads|attention_heads", name):
            return type(value)(min(2**i, 4) for i, _ in enumerate(value))
        if re.search("image_size", name):
            return type(value)(64 for _ in value)
        if re.search("hidden_sizes|embed_dims?|dims$|channels|neck_hidden_sizes", name) and max(value) > 32:
            return type(value)(max(8, 16 * x // max(min(value), 1)) if min(value) < max(value) else 32 for x in value)
        return None
    if value is None and name in ("vocab_size", "prediction_length", "mask_token_id", "pad_token_id"):
        value = 99
    if type(value) is not int:
        return None
    for pattern, size in SIZES:
        if re.search(pattern, name):
            return min(value, size)
    return None


def _shallow(name: str, value: Any) -> Any:
    if type(value) is int and LEAST["layers"].search(name):
        return min(value, 2)
    if isinstance(value, list) and "depths" in name:
        return [1] * len(value)
    return 99 if LEAST["vocab"].search(name) and type(value) is int else None
