"""Checkpoints of many trainings: collecting, storing and sampling them."""

from nino.trajectories.collect import ShardSummary, collect_shard
from nino.trajectories.convert import convert_states, open_source
from nino.trajectories.datasheet import datasheet
from nino.trajectories.format import Header, TrajectoryFileError, num_shards, shard_seeds
from nino.trajectories.join import join_shards
from nino.trajectories.reader import TrajectoryReader
from nino.trajectories.shardfile import Fault
from nino.trajectories.store import ShardWriter, writing_shard

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
