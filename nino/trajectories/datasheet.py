"""The datasheet of a trajectory file, made from the file itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nino.markdown import code, table
from nino.trajectories.reader import TrajectoryReader


def datasheet(path: Path) -> str:
    """Describe a trajectory file in Markdown: its contents, its origin, how to load it.

    Args:
        path: a shard or joined file.

    Returns:
        Markdown, the same for the same file.

    Raises:
        TrajectoryFileError: for a file that cannot be used.
    """
    reader = TrajectoryReader(path)
    sections = [
        f"# Trajectories of `{reader.task.id}`",
        f"Parameter states of {len(reader)} networks on their way through training, for meta-training nowcasters.",
        table(("what", "value"), _contents(reader)),
        "## Metrics",
        table(("metric", "first state", "last state", "range over all states", "measured"), _metrics(reader)),
        "## Parameters",
        table(("name", "shape", "elements"), [(f"`{p.name}`", p.shape, p.numel) for p in reader.parameters]),
        "## Provenance",
        table(("what", "value"), _provenance(reader)),
        "## Loading",
        "```python\n"
        "from pathlib import Path\n"
        "from nino.trajectories import TrajectoryReader\n\n"
        f'reader = TrajectoryReader(Path("{reader.path.name}"))\n'
        "states = reader.window(0, start=0, stride=1, length=2)  # (2, parameters) float16\n"
        "```\n\n"
        'Plain HDF5 works too: `h5py.File(...)["params"]` is (trajectory, state, parameter). Mind that HDF5 reads '
        "states of a missing shard as NaN without an error; `TrajectoryReader` refuses.",
    ]
    return "\n\n".join(sections) + "\n"


def _contents(reader: TrajectoryReader) -> list[tuple[object, ...]]:
    seeds, steps = reader.seeds, reader.steps
    size = sum(path.stat().st_size for path in reader.files)
    rows: list[tuple[object, ...]] = [
        ("networks", len(reader)),
        ("seeds", f"{seeds.min()}..{seeds.max()}"),
        ("states a network", f"{len(steps)}, every {reader.state_every} steps, steps {steps[0]}..{steps[-1]}"),
        ("parameters a state", f"{reader.num_parameters:,}, float16"),
        ("size", f"{size / 1e6:,.1f} MB in {len(reader.files)} file(s)"),
        ("diverged networks", ", ".join(map(str, seeds[reader.diverged].tolist())) or "none"),
    ]
    return rows


def _metrics(reader: TrajectoryReader) -> list[tuple[object, ...]]:
    """A row a metric: mean and range over networks at its first and last measured state, range over all."""
    names = {"train_loss": "training loss", "validation": f"validation {reader.task.target.title}"}
    names["test"] = f"test {reader.task.target.title}"
    rows: list[tuple[object, ...]] = []
    for name, label in names.items():
        values = reader.metrics[name]
        measured = np.flatnonzero(~np.isnan(values).all(axis=0))
        if not len(measured):
            continue
        first, last = values[:, measured[0]], values[:, measured[-1]]
        rows.append((label, _spread(first), _spread(last), _range(values), f"{len(measured)} states"))
    return rows


def _spread(values: np.ndarray) -> str:
    return f"{np.nanmean(values):.4g} ({_range(values)})"


def _range(values: np.ndarray) -> str:
    return f"{np.nanmin(values):.4g} .. {np.nanmax(values):.4g}"


def _provenance(reader: TrajectoryReader) -> list[tuple[object, ...]]:
    task, header = reader.task, reader.header
    packages = ", ".join(f"{name} {version}" for name, version in sorted(header.versions.items()))
    return [
        ("data", code(task.data.to_dict())),
        ("data checksum", f"`{header.data_checksum}`"),
        ("model", code(task.model.to_dict())),
        ("recipe", code(task.recipe.to_dict())),
        ("collected by", f"`{header.code_version}`"),
        ("versions", packages),
        ("format", f"{reader.attributes['format']} {reader.attributes['format_version']}"),
    ]
