"""Checkpoints of many trainings: collecting, storing and sampling them."""

from nino.trajectories.format import Header, TrajectoryFileError, num_shards, shard_seeds
from nino.trajectories.join import join_shards
from nino.trajectories.reader import TrajectoryReader
from nino.trajectories.store import ShardWriter, writing_shard

__all__ = [
    "Header",
    "ShardWriter",
    "TrajectoryFileError",
    "TrajectoryReader",
    "join_shards",
    "num_shards",
    "shard_seeds",
    "writing_shard",
]
