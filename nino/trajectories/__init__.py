"""Checkpoints of many trainings: collecting, storing and sampling them."""

from typing import TYPE_CHECKING, Any

from nino.trajectories.convert import convert_states, open_source
from nino.trajectories.datasheet import datasheet
from nino.trajectories.format import Header, TrajectoryFileError, num_shards, shard_seeds
from nino.trajectories.join import join_shards
from nino.trajectories.reader import TrajectoryReader
from nino.trajectories.shardfile import Fault
from nino.trajectories.store import ShardWriter, writing_shard

if TYPE_CHECKING:
    from nino.trajectories.collect import ShardSummary, collect_shard

__all__ = [
    "Fault",
    "Header",
    "ShardSummary",
    "ShardWriter",
    "TrajectoryFileError",
    "TrajectoryReader",
    "collect_shard",
    "convert_states",
    "datasheet",
    "join_shards",
    "num_shards",
    "open_source",
    "shard_seeds",
    "writing_shard",
]


def __getattr__(name: str) -> Any:
    """Import what trains networks only when it is asked for: reading and joining files does without torch."""
    if name in ("ShardSummary", "collect_shard"):
        from nino.trajectories import collect

        return getattr(collect, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
