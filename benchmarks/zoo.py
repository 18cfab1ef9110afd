"""Which models have a recorded graph: torchvision, one model a family of timm, one a model type of transformers.

    python -m benchmarks.zoo torchvision timm transformers --out benchmarks/results/zoo.csv

Each model is recorded on an input of its own size, of transformers on dummy inputs of a tiny config; its share of
parameters on edges, what is carried and why, and the seconds are written as they come. ``--verify`` renumbers models of
at most that many million parameters, too. Libraries that are not installed are skipped.
"""

from __future__ import annotations

import argparse
import csv
import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nino.graphs import neural_graph
from nino.tasks.torchvision_ops import declare_missing_operators

COLUMNS = ("library", "model", "parameters", "unread", "on_edges", "verified", "seconds", "carried_or_error")
#: Seconds that a model may take to be built and recorded.
LIMIT = 60
UNREAD = "no operation reads it"
Model = tuple[str, Callable[[], tuple[nn.Module, Any]]]


def torchvision_models() -> Iterator[Model]:
    """All of torchvision's models, with inputs of the sizes that they are made for."""
    import torchvision.models as tv

    for name in tv.list_models():
        if name.startswith("quantized_"):
            continue

        def build(name: str = name) -> tuple[nn.Module, Any]:
            kind = tv.get_model_builder(name).__module__
            extra = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
            if "segmentation" in kind or "detection" in kind:
                extra = {"weights_backbone": None}
            model = tv.get_model(name, weights=None, **extra)
            if "detection" in kind:
                return model.eval(), ([torch.rand(3, 320, 320)],)
            if name == "raft_large" or name == "raft_small":
                return model, (torch.zeros(1, 3, 128, 128), torch.zeros(1, 3, 128, 128))
            if "video" in kind:
                side = 112 if "mvit" not in name and "s3d" != name else 224
                return model, torch.zeros(2, 3, 16, side, side)
            return model, torch.zeros(2, 3, *[299 if name == "inception_v3" else getattr(model, "image_size", 224)] * 2)

        yield name, build


def timm_models() -> Iterator[Model]:
    """The smallest input's first model of each of timm's modules."""
    import timm

    for module in timm.list_modules():
        names = timm.list_models(module=module)
        if not names:
            continue

        def build(names: list[str] = names) -> tuple[nn.Module, Any]:
            small = [n for n in names if any(word in n for word in ("atto", "femto", "pico", "tiny", "nano", "xxs"))]
            model = timm.create_model((small or names)[0], num_classes=10)
            return model, torch.zeros(2, *model.default_cfg["input_size"])

        yield module, build


def transformers_models() -> Iterator[Model]:
    """The language model (or else the bare model) of each model type, with a tiny config."""
    import transformers as T
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as MASKED
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES as PAIRS
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES as BARE

    for kind, names in BARE.items():

        def build(kind: str = kind, names: Any = names) -> tuple[nn.Module, Any]:
            name: Any = (
                PAIRS.get(kind)
                or CAUSAL.get(kind)
                or MASKED.get(kind)
                or (names if isinstance(names, str) else names[0])
            )
            cls = getattr(T, name)
            return cls(_tiny(cls.config_class)), None

        yield kind, build


def _tiny(cls: Any) -> Any:
    """A config with small numbers where it has the usual names for them."""
    config = cls()
    sizes = {
        "hidden_size": 32, "d_model": 32, "n_embd": 32, "dim": 32, "embed_dim": 32, "intermediate_size": 64, "d_ff": 64,
        "ffn_dim": 48, "n_inner": 48, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "num_hidden_layers": 2,
        "n_layer": 2,
        "n_layers": 2, "num_layers": 2, "encoder_layers": 2, "decoder_layers": 2, "num_attention_heads": 4, "n_head": 4,
        "n_heads": 4, "num_heads": 4, "encoder_attention_heads": 4, "decoder_attention_heads": 4, "vocab_size": 99,
        "num_key_value_heads": 2, "head_dim": 8, "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4,
        "num_experts_per_tok": 2, "moe_intermediate_size": 16, "image_size": 32, "patch_size": 8,
        "max_position_embeddings": 64, "n_positions": 64, "embedding_size": 32, "d_kv": 8, "hidden_dim": 48,
        "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    for part in (config, *(getattr(config, f"{p}_config", None) for p in ("text", "vision"))):
        for name, value in sizes.items():
            if isinstance(getattr(part, name, None), int) and not isinstance(getattr(part, name), bool):
                try:
                    setattr(part, name, value)
                except (NotImplementedError, AttributeError, ValueError):
                    continue
        if part is not None and isinstance(getattr(part, "layer_types", None), list):
            part.layer_types = part.layer_types[-2:]
    return config


SOURCES = {"torchvision": torchvision_models, "timm": timm_models, "transformers": transformers_models}


def measure(build: Callable[[], tuple[nn.Module, Any]], verify: float) -> dict[str, Any]:
    """Build, record and, where it is small enough, verify one model."""
    torch.manual_seed(0)
    try:
        model, example = build()
    except Exception as error:  # a model that cannot be built says nothing about graphs
        return {"verified": "not built", "carried_or_error": f"{type(error).__name__}: {str(error)[:120]}"}
    number = sum(p.numel() for p in model.parameters())
    start = time.perf_counter()
    try:
        graph = neural_graph(model, "exact", example=example)
    except Exception as error:  # the row says which
        cause = error.__cause__ or error
        return {
            "parameters": number,
            "on_edges": 0.0,
            "carried_or_error": f"{type(cause).__name__}: {str(cause)[:160]}",
        }
    seconds = time.perf_counter() - start
    carried = {p.name: p.numel for p in graph.parameters if p.name in set(graph.carried)}
    unread = sum(n for name, n in carried.items() if graph.reasons.get(name) == UNREAD)
    reasons = dict.fromkeys(reason for reason in graph.reasons.values() if reason != UNREAD)
    row = {
        "parameters": number,
        "unread": unread,
        "on_edges": round(1 - (sum(carried.values()) - unread) / max(number - unread, 1), 4),
        "seconds": round(seconds, 2),
        "carried_or_error": "; ".join(reasons),
    }
    if example is not None and number <= verify * 1e6:
        row["verified"] = str(bool(graph.verify(model, example)))
    return row


def main(arguments: list[str] | None = None) -> None:
    """Write a row a model, and print a line a library."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("libraries", nargs="+", choices=SOURCES)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--verify", type=float, default=0.0, help="million parameters up to which models are verified")
    parser.add_argument("--after", default="", help="models whose name is larger than this")
    parser.add_argument("--only", default="", help="models whose name contains this")
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    declare_missing_operators()
    signal.signal(signal.SIGALRM, _too_long)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for library in options.libraries:
            rows = []
            for name, build in SOURCES[library]():
                if options.only not in name or name <= options.after:
                    continue
                signal.alarm(LIMIT)
                try:
                    row = measure(build, options.verify)
                except TooLongError:
                    row = {"carried_or_error": f"more than {LIMIT} s"}
                signal.alarm(0)
                rows.append(row)
                writer.writerow({"library": library, "model": name, **row})
                file.flush()
            built = [r for r in rows if r.get("verified") != "not built"]
            whole = sum(r.get("on_edges", 0.0) >= 0.95 for r in built)
            sys.stdout.write(f"{library}: {whole} of {len(built)} models with at least 95 % on edges\n")


class TooLongError(BaseException):
    """Not an ``Exception``: nothing on the way may take it for the model's."""


def _too_long(*_: object) -> None:
    raise TooLongError


if __name__ == "__main__":
    main()
