"""Commands for one's own model: its neural graph."""

from __future__ import annotations

import typer

from nino.cli import select
from nino.cli.options import ConfigFiles, DataDir, SpecFile, TaskName


def add_to(app: typer.Typer) -> None:
    """Register this module's commands."""
    for command in (graph,):
        app.command()(command)


def graph(
    spec: SpecFile = None,
    config: ConfigFiles = None,
    task: TaskName = None,
    topology: str = typer.Option("released", help="released or exact."),
    data_dir: DataDir = None,
) -> None:
    """Print the neural graph of a task's network: groups of neurons and the blocks that join them."""
    job = select.task_job(spec, config, task)
    from nino.graphs import neural_graph
    from nino.tasks import load_task

    model = load_task(job.unit, job.data_dir(data_dir)).build_model(0)
    drawn = neural_graph(model, topology)  # type: ignore[arg-type]  # checked there, with a clear error
    typer.echo(f"{job.unit.id}, topology {drawn.topology}: {drawn.num_nodes} nodes, {drawn.num_edges} edges,")
    typer.echo(f"{drawn.num_parameters} parameters in {len(drawn.parameters)} tensors")
    for name, nodes in drawn.groups.items():
        typer.echo(f"  group  {name:<32} {nodes.size} nodes")
    for block in drawn.blocks:
        typer.echo(
            f"  block  {block.name:<32} {block.edge_type.name.lower()}, {block.kind}: "
            f"{block.source.size} x {block.target.size} nodes, {block.num_weights} weights"
        )
