"""What each stage is told to do: small frozen dataclasses, one to one with the config's entries.

The JSON schema (``nino/config``) says what values are allowed; these say what they mean to the code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self


@dataclass(frozen=True)
class Spec:
    """Base: built from a plain mapping, turned back into one."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from a mapping of this dataclass's own keys.

        Raises:
            ValueError: for a key that is not a field; names it and the fields there are.
        """
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"{cls.__name__}: unknown key {unknown[0]!r}; allowed are {', '.join(sorted(known))}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The plain mapping, nested specs included."""
        return asdict(self, dict_factory=_without_later)


LATER = ("checkpoint_every",)


def _without_later(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping without keys of ``LATER`` that are None: what was recorded before they existed stays what it is."""
    return {key: value for key, value in pairs if value is not None or key not in LATER}


@dataclass(frozen=True)
class DataSpec(Spec):
    """Which data set and where it comes from.

    Args:
        name: a key of ``nino.tasks.DATASETS``.
        source: ``embedded`` (ships with a dependency), ``torchvision``, ``hub``, ``npz``, ``folder`` (of image files),
            ``parquet`` or ``text``.
        path: local file or folder for sources that need one.
        options: what only this data set knows (block length in tokens, tokenizer, ...).
    """

    name: str
    source: str = "embedded"
    path: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelSpec(Spec):
    """Which architecture: a key of ``nino.tasks.MODELS`` and its own arguments."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RecipeSpec(Spec):
    """How the base optimizer trains a task (DESIGN 5).

    Args:
        optimizer: ``adam``, ``adamw``, ``sgd`` or ``muon``.
        lr: learning rate, constant.
        steps: T, steps of the whole run.
        batch_size: examples a step (blocks of tokens for language).
        weight_decay: decoupled for adamw; never on biases.
        accumulate: parts that a batch is taken in, one after the other, their gradients added up: the same step in
            less memory. Divides ``batch_size``.
        precision: ``float32``, or ``bfloat16`` for automatic mixed precision: large products in bfloat16, parameters,
            gradients and optimizer in float32.
    """

    optimizer: str
    lr: float
    steps: int
    batch_size: int
    weight_decay: float = 0.0
    accumulate: int = 1
    precision: str = "float32"


@dataclass(frozen=True)
class TargetSpec(Spec):
    """The goal, fixed beforehand; a run reaches it at the first step at which its metric meets ``value``.

    Args:
        metric: ``accuracy`` (percent, higher is better) or ``perplexity`` (lower is better).
        value: what has to be met.
        split: data it is checked on: ``test`` (the paper's vision tasks) or ``validation`` (language).
    """

    metric: str
    value: float
    split: str = "test"

    @property
    def higher_is_better(self) -> bool:
        """Whether larger values of the metric are better."""
        return self.metric == "accuracy"

    def met(self, value: float) -> bool:
        """Whether ``value`` meets the target (NaN never does)."""
        return value >= self.value if self.higher_is_better else value <= self.value


@dataclass(frozen=True)
class EvaluationSpec(Spec):
    """How often a run is measured, in steps.

    Args:
        test_every: test metric; 1 in the paper's vision tasks, 500 in language.
        validation_every: validation metric, a multiple of ``test_every``; equal to it where the target is checked on
            the validation split.
        at_nowcast: where a step is both measured and a nowcast, ``after`` it (the paper's vision tasks) or ``before``
            it takes its step (language).
        hardest_first: between two measurements of the validation metric, measure the test metric only where a sample
            of the test images, and then the hardest of them, leave the target open: the same first hit (overlooked with
            a probability of at most 1e-6, `nino.evaluate.target`) in a fraction of the time, fewer rows.
        checkpoint_every: the states before every so manieth step are written as Hugging Face folders, of which as many
            are kept as a nowcast reads, and one more (``nino step`` goes on from them); None writes none.
    """

    test_every: int
    validation_every: int
    at_nowcast: str = "after"
    hardest_first: bool = False
    checkpoint_every: int | None = None


@dataclass(frozen=True)
class TaskSpec(Spec):
    """A task: data x architecture x recipe x target."""

    id: str
    data: DataSpec
    model: ModelSpec
    recipe: RecipeSpec
    target: TargetSpec
    evaluation: EvaluationSpec

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from a nested mapping."""
        return cls(
            id=values["id"],
            data=DataSpec.from_dict(values["data"]),
            model=ModelSpec.from_dict(values["model"]),
            recipe=RecipeSpec.from_dict(values["recipe"]),
            target=TargetSpec.from_dict(values["target"]),
            evaluation=EvaluationSpec.from_dict(values["evaluation"]),
        )


@dataclass(frozen=True)
class TrajectorySpec(Spec):
    """How many networks of a task are trained for meta-training, and which states are kept.

    Args:
        models: networks, seeds ``first_seed + i``.
        models_per_shard: networks that one job trains and stores in one file.
        state_every: steps between stored states.
        first_seed: seed of network 0; evaluation seeds must not fall into the range used here.
        steps: steps each network is trained; None takes the recipe's.
        members_per_job: networks of a shard that are trained at once (``nino.ensemble``); None takes 1 on a CPU, 8 on a
            GPU. It changes states by rounding alone.
    """

    models: int
    models_per_shard: int
    state_every: int
    first_seed: int = 0
    steps: int | None = None
    members_per_job: int | None = None


@dataclass(frozen=True)
class ScheduleSpec(Spec):
    r"""When nowcasts happen and how far they reach.

    Args:
        period: steps between nowcasts (1000 in the paper).
        context: states c kept for a nowcast; they lie ``period / context`` steps apart.
        max_horizon: k of the first nowcast, in states; decays to 1 as ``round(linspace(K^(1/p), 1, T/period)^p)``.
        power: p of the decay (2 in the paper); 0 keeps k at ``max_horizon``.
    """

    period: int = 1000
    context: int = 5
    max_horizon: int = 40
    power: float = 2.0


@dataclass(frozen=True)
class MethodSpec(Spec):
    """A row of the results table.

    Args:
        name: its key in the config.
        nowcaster: ``none`` (the base optimizer alone), ``identity``, ``linear``, ``random``, ``oracle``,
            ``checkpoint`` (a file at ``path``) or ``metatrained`` (the config's own nowcaster of name ``source``);
            ``l2o`` trains with a learned optimizer instead of the recipe's, of name ``source`` or from ``path``;
            ``FILE.py:CLASS`` or ``MODULE:CLASS``, a class of the user's own.
        label: how tables and figures call it; default its name.
        source: key under ``metatrain.nowcasters`` for ``metatrained``, under ``metatrain.optimizers`` for ``l2o``.
        path: file or known name for ``checkpoint``, file for ``l2o``.
        options: further arguments of the nowcaster.
    """

    name: str
    nowcaster: str
    label: str | None = None
    source: str | None = None
    path: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MetatrainSpec(Spec):
    """How a nowcaster is fitted to trajectories (DESIGN 5, meta-training).

    Args:
        kind: ``nino`` or ``wnn+``.
        seed: of initialisation and sampling.
        iterations: optimizer steps (20,000 in the paper).
        model: arguments of the network (``hidden`` 128, ``word_positions`` ...).
        lr: peak learning rate, AdamW, cosine to ``min_lr``.
        min_lr: final learning rate.
        weight_decay: decoupled.
        clip_norm: gradient norm bound.
        trajectories_per_batch: drawn task first (uniform), then trajectory.
        windows_per_trajectory: consecutive windows, one stride apart.
        window_stride: steps between the states of a window (200 in the paper).
        context: states read.
        max_horizon: states predicted; targets beyond the end are padded and masked.
        words: rows of the word embedding sampled in transformers (1000 in the paper).
        scaling: ``tensor`` or ``network`` (one group for all parameters, as the released model did for transformers),
            which nowcasts do a tensor at a time; ``none``: states are left as they are, in nowcasts too.
        validation_models: last trajectories of each task, held out.
        validate_every: iterations between validations.
        checkpoint_every: iterations between checkpoints.
        amp: ``auto`` uses automatic mixed precision where there is a GPU; ``off`` never.
        topology: of the networks' neural graphs, ``released``, ``exact`` or ``naive``.
        models: networks of each task that it is fitted to, the first ones; None takes all but the held-out ones, which
            are the same whatever it says.
    """

    kind: str
    seed: int = 0
    iterations: int = 20_000
    model: Mapping[str, Any] = field(default_factory=dict)
    lr: float = 3e-3
    min_lr: float = 1e-6
    weight_decay: float = 1e-2
    clip_norm: float = 5.0
    trajectories_per_batch: int = 4
    windows_per_trajectory: int = 4
    window_stride: int = 200
    context: int = 5
    max_horizon: int = 40
    words: int = 1000
    scaling: str = "tensor"
    validation_models: int = 1
    validate_every: int = 200
    checkpoint_every: int = 200
    amp: str = "auto"
    topology: str = "released"
    models: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The plain mapping; ``models`` only where it is given: fits from before it existed stay what they are."""
        return {key: value for key, value in super().to_dict().items() if key != "models" or value is not None}


@dataclass(frozen=True)
class L2OSpec(Spec):
    """How a learned optimizer is fitted to trainings of a task, by truncated unrolls.

    Args:
        seed: of initialisation and of the trainings that it learns from.
        iterations: unrolls, each followed by one update of the learned optimizer.
        hidden: width of its network (32 in the source).
        lr: peak learning rate, AdamW, cosine to 0.
        clip_norm: gradient norm bound.
        unroll: training steps of an unroll.
        trainings: kept under way, taken in turn, so that the learned optimizer sees young and old networks.
        max_steps: longest of them; each ends after a number of steps drawn from ``unroll`` .. ``max_steps``, evenly on
            a logarithmic scale, and a new one begins.
        validation_steps: of the training of a seed of its own whose mean loss decides which state is the best.
        validate_every: iterations between validations.
        checkpoint_every: iterations between checkpoints.
    """

    seed: int = 0
    iterations: int = 5000
    hidden: int = 32
    lr: float = 3e-3
    clip_norm: float = 1.0
    unroll: int = 20
    trainings: int = 8
    max_steps: int = 2000
    validation_steps: int = 500
    validate_every: int = 250
    checkpoint_every: int = 50
