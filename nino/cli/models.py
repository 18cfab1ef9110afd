"""Commands for a model of your own: its neural graph, a nowcast from its checkpoints, a merge of fine-tuned models."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from nino.cli import select
from nino.cli.options import (
    ConfigFiles,
    DataDir,
    Device,
    SpecFile,
    TaskName,
    Threads,
    Topology,
    TopologyName,
    UpdateScale,
    device_of,
    finite,
)
from nino.config.errors import ConfigError
from nino.specs import suggest

if TYPE_CHECKING:
    from torch import nn

    from nino.graphs import NeuralGraph
    from nino.nowcasters import Nowcaster


ModelFunction = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="package.module:function that builds the network, or it and an example of its inputs; "
        "not needed for Hugging Face folders.",
    ),
]
UnknownParameters = Annotated[
    Literal["error", "carry", "order"],
    typer.Option("--unknown", help="What becomes of parameters that the graph does not know."),
]


def graph(
    model: Annotated[
        str | None,
        typer.Argument(
            help="package.module:function that builds a model, or it and an example of its inputs; left out: a task's "
            "network.",
        ),
    ] = None,
    spec: SpecFile = None,
    config: ConfigFiles = None,
    task: TaskName = None,
    topology: Annotated[
        Topology | None,
        typer.Option("--topology", help="Which neural graph is read; default released, with --verify exact."),
    ] = None,
    data_dir: DataDir = None,
    verify: bool = typer.Option(
        False, "--verify", help="Renumber the neurons that the graph calls interchangeable, and compare outputs."
    ),
) -> None:
    """Print the neural graph of a network: groups of neurons and the blocks that join them."""
    from nino.graphs import neural_graph
    from nino.tasks.model_graphs import examples_of, task_graph

    chosen = topology or ("exact" if verify else "released")
    if model is not None:
        name, (network, example) = model, build_with_example(model)
        drawn = neural_graph(network, chosen, example=example)
    else:
        from nino.tasks import load_task

        job = select.task_job(spec, config, task)
        loaded = load_task(job.unit, job.data_dir(data_dir))
        name, network = job.unit.id, loaded.build_model(0)
        drawn, example = task_graph(loaded, network, chosen), examples_of(loaded.data, network)
    if verify:
        _verify(name, drawn, network, example)
        return
    typer.echo(f"{name}, topology {drawn.topology}: {drawn.num_nodes} nodes, {drawn.num_edges} edges,")
    typer.echo(f"{drawn.num_parameters} parameters in {len(drawn.parameters)} tensors")
    for group, nodes in drawn.groups.items():
        typer.echo(f"  group  {group:<32} {nodes.size} nodes")
    for block in drawn.blocks:
        typer.echo(
            f"  block  {block.name:<32} {block.edge_type.name.lower()}, {block.kind}: "
            f"{block.source.size} x {block.target.size} nodes, {block.num_weights} weights"
        )


def _verify(name: str, drawn: NeuralGraph, network: nn.Module, example: Any) -> None:
    """Print whether renumbering keeps the network's outputs on an example, or without one on guessed inputs.

    Raises:
        typer.Exit: with 1, where it does not.
    """
    from nino.graphs.recorded import guessed

    typer.echo(drawn.summary())
    checked = drawn.verify(network, guessed(network)[1] if example is None else example)
    typer.echo(f"{name}: {checked}")
    if not checked:
        raise typer.Exit(1)


def step(
    checkpoints: Annotated[
        list[Path],
        typer.Argument(
            help="Folder of checkpoint-200, step_200.pt, model-200.safetensors; or each by name, oldest first."
        ),
    ],
    nowcaster: Annotated[str, typer.Option("--nowcaster", help="File, known name (nino_no_posw), or: linear.")],
    k: Annotated[int | None, typer.Option("--k", min=1, help="Horizon, in checkpoints.")] = None,
    max_train_steps: Annotated[
        int | None, typer.Option("--max-train-steps", min=1, help="Steps of the whole run: k by the decay, for no --k.")
    ] = None,
    model: ModelFunction = None,
    spacing: Annotated[
        int | None, typer.Option("--spacing", min=1, help="Steps between checkpoints; default what is there.")
    ] = None,
    period: Annotated[
        int | None,
        typer.Option("--period", min=1, help="Steps between nowcasts, for k by the decay; default all read."),
    ] = None,
    max_horizon: Annotated[int, typer.Option("--max-horizon", min=1, help="k of the first nowcast of the decay.")] = 40,
    power: Annotated[
        float, typer.Option("--power", min=0, callback=finite, help="Exponent of the decay of k; 0 keeps it.")
    ] = 2.0,
    pattern: Annotated[str | None, typer.Option("--pattern", help="Shell pattern of the checkpoints' names.")] = None,
    topology: TopologyName = "released",
    unknown: UnknownParameters = "error",
    update_scale: UpdateScale = 1.0,
    out: Annotated[
        Path | None, typer.Option("--out", help="Checkpoint to write; default nowcast/ beside the last, its name.")
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    still: Annotated[
        Literal["keep", "predict"],
        typer.Option("--still", help="Whether elements that are equal in all checkpoints stay, or move, too."),
    ] = "keep",
) -> None:
    """Nowcast once, offline, from a run's last checkpoints; write one that training resumes from."""
    from nino.offline import step

    forecast, place = nowcaster_of(nowcaster), device_of(device)
    network, example = (None, None) if model is None else build_with_example(model)
    done = step(
        checkpoints if len(checkpoints) > 1 else checkpoints[0],
        forecast,
        k,
        max_train_steps=max_train_steps,
        model=network,
        example=example,
        spacing=spacing,
        period=period,
        max_horizon=max_horizon,
        power=power,
        pattern=pattern,
        topology=topology,
        unknown=unknown,
        update_scale=update_scale,
        out=out,
        device=place,
        threads=threads,
        still=still,
    )
    typer.echo(f"{done.path}: steps {', '.join(map(str, done.steps))}, k = {done.k}, norm {done.norm:.4g}")


def merge(
    base: Annotated[Path, typer.Argument(help="What all were fine-tuned from: a file or a Hugging Face folder.")],
    finetuned: Annotated[list[Path], typer.Argument(help="Two to four fine-tuned models.")],
    nowcaster: Annotated[str, typer.Option("--nowcaster", help="File, known name (nino_no_posw), or: linear.")],
    out: Annotated[Path, typer.Option("--out", help="File or folder to write.")],
    horizons: Annotated[str, typer.Option("--horizons", help="First-last k whose predictions are averaged.")] = "1-5",
    update_scale: UpdateScale = 0.3,
    model: ModelFunction = None,
    topology: TopologyName = "released",
    unknown: UnknownParameters = "error",
    device: Device = "auto",
) -> None:
    """Merge fine-tuned models into one by a nowcast: base and fine-tuned models are the states that it reads."""
    from nino.offline import merge

    match = re.fullmatch(r"(\d+)(?:-(\d+))?", horizons)
    if match is None:
        raise ConfigError([f"--horizons (={horizons}) must be k or first-last, as 1-5"])
    first, last = int(match[1]), int(match[2] or match[1])
    forecast, place = nowcaster_of(nowcaster), device_of(device)
    network, example = (None, None) if model is None else build_with_example(model)
    done = merge(
        base,
        finetuned,
        forecast,
        out,
        horizons=range(first, last + 1),
        update_scale=update_scale,
        model=network,
        example=example,
        topology=topology,
        unknown=unknown,
        device=place,
    )
    typer.echo(f"{done.path}: {len(finetuned)} models merged, averaged: {', '.join(done.averaged) or 'none'}")


def nowcaster_of(name: str) -> Nowcaster:
    """The line fit for the name ``linear``; for any other, the nowcaster of that file or known name."""
    from nino.nowcasters import LineFit, load_nowcaster

    return LineFit() if name == "linear" else load_nowcaster(name)


def build_with_example(path: str) -> tuple[nn.Module, Any]:
    """Call the function that ``--model`` names; modules are looked for in the working directory too.

    Returns:
        The network, and the example of its inputs that the function gives beside it, if any.

    Raises:
        ConfigError: where there is no such function, or it does not give a module.
    """
    from torch import nn

    sys.path.insert(0, str(Path.cwd()))
    try:
        made = _function(path)()
    finally:
        sys.path.pop(0)
    model, example = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(model, nn.Module):
        raise ConfigError([f"--model (={path}) gave {type(model).__name__}, not a torch module"])
    return model, example


def _function(path: str) -> Any:
    """What ``package.module:function`` names.

    Raises:
        ConfigError: where there is no such module, or it has no such function.
    """
    name, _, function = path.partition(":")
    if not (name and function):
        raise ConfigError([f"--model (={path}) must be package.module:function, importable from here"])
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # one that the module itself imports
        raise ConfigError([f"--model (={path}): there is no module {error.name} here ({Path.cwd()})"]) from None
    if not hasattr(module, function):
        functions = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ConfigError([f"--model (={path}): {name} has no {function}; {suggest(function, functions)}"])
    return getattr(module, function)
