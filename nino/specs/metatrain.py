"""Meta-training: how a nowcaster is fitted to trajectories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from nino.specs.base import Spec
from nino.specs.values import Allowed, Chosen, Count, Name, NonNegative, Positive, Seed, Several, Topology, YesNo


@dataclass(frozen=True)
class WNNPlusModel(Spec):
    """Arguments of the per-parameter network wnn+.

    Args:
        hidden: width d of the network [neurons].
    """

    hidden: Count = 128


@dataclass(frozen=True)
class NiNoModel(Spec):
    """Arguments of the graph network nino.

    Args:
        hidden: width d of the graph network [neurons].
        word_positions: whether word nodes know their token [yes or no].
        layers: convolutions; the last one reaches no prediction [layers].
        lpe: eigenvectors of the graph's Laplacian that say where a neuron is, 0 or 8; 0 leaves positions out
            [eigenvectors].
    """

    hidden: Count = 128
    word_positions: YesNo = True
    layers: Several = 3
    lpe: Annotated[int, Allowed(ge=0, le=8, multiple_of=8)] = 8


NOWCASTER_MODELS: dict[str, type[Spec]] = {"nino": NiNoModel, "wnn+": WNNPlusModel}


@dataclass(frozen=True)
class MetatrainSpec(Spec):
    """How nowcasters are fitted to trajectories; an entry of metatrain.nowcasters may override any of it.

    Args:
        kind: architecture of the nowcaster [name].
        seed: seed of initialisation and sampling [seed].
        iterations: optimizer steps of the fit [iterations].
        model: arguments of the architecture.
        lr: peak learning rate of AdamW, cosine to min_lr [per iteration].
        min_lr: final learning rate [per iteration].
        weight_decay: decoupled weight decay [per iteration and learning rate].
        clip_norm: bound on the gradient's L2 norm [norm].
        trajectories_per_batch: trajectories a batch: a task is drawn first, then a trajectory of it [trajectories].
        windows_per_trajectory: consecutive windows of each, one stride apart [windows].
        window_stride: between the states of a window, a multiple of state_every; several are drawn from, each as often
            [steps].
        start_within: windows start within so many strides of a trajectory's beginning; without it anywhere [strides].
        context: states c that the nowcaster reads [states].
        max_horizon: states K that it predicts; targets beyond the end are masked [states].
        words: rows of the word embedding sampled a window, in transformers [rows].
        scaling: states are scaled to unit variance per tensor, or over the whole network (as the released model did for
            transformers); none leaves them as they are, in nowcasts too [name].
        validation_models: last trajectories of each task, held out for validation [trajectories].
        validate_every: between validations [iterations].
        checkpoint_every: between checkpoints [iterations].
        amp: automatic mixed precision: where there is a GPU, or never [name].
        topology: neural graphs of the networks: as released, exact, or naive (attention without heads) [name].
        models: networks of each task that it is fitted to, the first ones; without it all but the held-out ones, which
            are the same whatever it says [networks].
    """

    kind: Annotated[str, Allowed(names=NOWCASTER_MODELS)]
    seed: Seed = 0
    iterations: Count = 20_000
    model: Annotated[Mapping[str, Any], Chosen("kind", NOWCASTER_MODELS)] = field(default_factory=dict)
    lr: Positive = 3e-3
    min_lr: NonNegative = 1e-6
    weight_decay: NonNegative = 1e-2
    clip_norm: Positive = 5.0
    trajectories_per_batch: Count = 4
    windows_per_trajectory: Count = 4
    window_stride: Count | Annotated[tuple[Count, ...], Allowed(min_length=1, unique=True)] = 200
    start_within: Count | None = None
    context: Several = 5
    max_horizon: Count = 40
    words: Count = 1000
    scaling: Annotated[str, Allowed(names=("tensor", "network", "none"))] = "tensor"
    validation_models: Count = 1
    validate_every: Count = 200
    checkpoint_every: Count = 200
    amp: Annotated[str, Allowed(names=("auto", "off"))] = "auto"
    topology: Topology = "released"
    models: Count | None = None

    @property
    def strides(self) -> tuple[int, ...]:
        """Steps between the states of a window: all that are drawn from."""
        return (self.window_stride,) if isinstance(self.window_stride, int) else self.window_stride


@dataclass(frozen=True)
class MetatrainUnit(Spec):
    """A job: fitting a nowcaster to the trajectories of some tasks."""

    name: Name
    tasks: tuple[Name, ...]
    metatrain: MetatrainSpec
