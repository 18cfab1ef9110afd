"""What every nowcast from files needs: the model's architecture, its graph, and a prediction from mapped states."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nino.graphs import NeuralGraph, neural_graph
from nino.graphs.registry import family_graph, graph_now
from nino.nowcasters import KINDS, FileStates, Nowcaster, Pointwise
from nino.offline.checkpoints import Checkpoint


def names_of(model: nn.Module) -> dict[str, list[str]]:
    """All names of each parameter, by the one that the graph knows it by: tied ones have several."""
    by_id: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        by_id.setdefault(id(parameter), []).append(name)
    return {name: by_id[id(parameter)] for name, parameter in model.named_parameters()}


class Outline(nn.Module):
    """A stand-in for a transformers model: its parameters' names and shapes, without that library's modelling code.

    Importing that code takes ten times as long as the nowcast of a small model.

    Args:
        config: its configuration.
        shapes: of the parameters that a checkpoint holds, by name.
    """

    BODIES = {
        "gpt2": ("transformer", "wte"),
        **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3"), ("model", "embed_tokens")),
    }

    def __init__(self, config: Any, shapes: Mapping[str, torch.Size]) -> None:
        """Make a module for every dot in a name."""
        super().__init__()
        self.config = config
        body, words = self.BODIES[config.model_type]
        self._body = body if any(name.startswith(f"{body}.") for name in shapes) else ""
        words = f"{self._body}.{words}.weight".lstrip(".")
        for name, shape in shapes.items():
            path, _, leaf = name.rpartition(".")
            module: nn.Module = self
            for part in path.split("."):
                if not hasattr(module, part):
                    head = module is self and part != self._body and len(shape) == 2
                    new = nn.Linear(shape[1], shape[0], bias=False, device="meta") if head else nn.Module()
                    module.add_module(part, new)
                module = getattr(module, part)
            tied = name == "lm_head.weight" and config.tie_word_embeddings and words in shapes
            whole = self.get_parameter(words) if tied else nn.Parameter(torch.empty(shape, device="meta"))
            module.register_parameter(leaf, whole)
        self.base_model.config = config

    @property
    def base_model(self) -> nn.Module:
        """The model without its head."""
        return self.get_submodule(self._body)


def outline(checkpoint: Checkpoint) -> Outline | None:
    """The outline of a Hugging Face folder's model; None for another checkpoint, or a family that has none here."""
    if not (checkpoint.path / "config.json").is_file():
        return None
    from nino.tasks.torchvision_ops import declare_missing_operators

    declare_missing_operators()  # for transformers' configurations too
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(checkpoint.path)
    if config.model_type not in Outline.BODIES:
        return None
    tensors = [(keys[-1], tensor) for file in checkpoint.files for keys, tensor in file.tensors().items()]
    # the head after the words that it may be tied to
    return Outline(config, {name: t.shape for name, t in sorted(tensors, key=lambda item: item[0] == "lm_head.weight")})


def hub_model(path: Path) -> nn.Module:
    """The architecture that a Hugging Face folder's config names, without memory for its parameters."""
    if not (path / "config.json").is_file():
        raise ValueError(f"{path} has no config.json that says what model it is: pass `model`, the network itself")
    from nino.tasks.torchvision_ops import declare_missing_operators

    declare_missing_operators()
    import transformers

    config = transformers.AutoConfig.from_pretrained(path)
    kind = getattr(transformers, (config.architectures or [""])[0], None)
    if kind is None:
        raise ValueError(
            f"{path}/config.json names the architectures {config.architectures}: unknown here; pass `model`"
        )
    with torch.device("meta"):
        return kind(config)


def model_and_graph(
    checkpoint: Checkpoint,
    nowcaster: Nowcaster,
    model: nn.Module | None,
    graph: NeuralGraph | None,
    topology: str,
    unknown: str,
    example: Any,
) -> tuple[nn.Module, NeuralGraph]:
    """The model and the graph as given, or those of a checkpoint, the graph as far as the nowcaster needs it.

    Raises:
        ValueError: where the checkpoint does not say what model it is.
    """
    if model is None and graph is None:
        sketch = outline(checkpoint)
        graph = None if sketch is None else family_graph(sketch.config.model_type, sketch, topology)  # type: ignore[arg-type]
        model = None if graph is None else sketch
    model = hub_model(checkpoint.path) if model is None else model
    if graph is None:
        wiring = getattr(nowcaster, "needs_graph", True)
        graph = graph_now(model, topology, unknown, wiring=wiring)  # type: ignore[arg-type]
    if graph is None:
        graph = neural_graph(model, topology, unknown, example=example)  # type: ignore[arg-type]
    return model, graph


def predict(
    nowcaster: Nowcaster, graph: NeuralGraph, states: FileStates, k: int, device: torch.device, **asked: Any
) -> Float[Tensor, " params"]:
    """The prediction, on the CPU; a nowcaster that can only read a tensor gets all states in one."""
    if isinstance(nowcaster, nn.Module):
        nowcaster.to(device)
    source: FileStates | Tensor = states
    if not isinstance(nowcaster, (Pointwise, *KINDS.values())):  # others know tensors only
        source = torch.cat([torch.cat([part.float() for part in states.parts(p)], dim=1) for p in graph.parameters])
    with torch.no_grad():
        return nowcaster.predict(graph, source, k, **asked)
