"""Opening trajectory files, each with the neural graph of the networks in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nino.graphs import NeuralGraph
from nino.graphs.registry import Topology
from nino.tasks import load_task
from nino.tasks.recording import task_graph
from nino.trajectories import TrajectoryFileError, TrajectoryReader


def open_sources(
    paths: Mapping[str, Path], *, data_dir: Path | None = None, topology: Topology = "released"
) -> dict[str, tuple[NeuralGraph, TrajectoryReader]]:
    """Open trajectory files and build the graphs of their networks.

    A file describes its whole task, so only the file is needed, and the task's data, which sizes the network.

    Args:
        paths: task -> its shard or joined file.
        data_dir: where data sets are; None takes the default.
        topology: of the graphs.

    Returns:
        Task -> graph and reader, in the order of ``paths``.

    Raises:
        TrajectoryFileError: for a file that cannot be used or is of another task.
        FileNotFoundError: where a task's data is missing.
    """
    sources = {}
    for task, path in paths.items():
        reader = TrajectoryReader(path)
        if reader.task.id != task:
            raise TrajectoryFileError(path, f"holds task {reader.task.id!r}, not {task!r}")
        loaded = load_task(reader.task, data_dir)
        sources[task] = (task_graph(loaded, loaded.build_model(0), topology), reader)
    return sources
