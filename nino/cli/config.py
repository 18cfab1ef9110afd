"""``nino config``: look at a config without running anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from nino.cli import select
from nino.cli.options import ConfigFiles

app = typer.Typer(help="Check a config, show it as resolved, explain its keys.", no_args_is_help=True)


@app.command()
def validate(config: ConfigFiles = None) -> None:
    """Check a config; say what it would run."""
    run = select.experiment(config)
    shards = sum(len(run.shards(task)) for task in run.collected)
    runs = len(run.evaluations)
    typer.echo(
        f"{run.run}: {shards} shards of trajectories ({', '.join(run.collected) or 'none'}), "
        f"{len(run.fitted)} nowcasters to fit ({', '.join(run.fitted) or 'none'}), "
        f"{runs} evaluations ({len(run.evaluated)} tasks x {len(run.methods)} methods x {len(run.seeds)} seeds)"
    )


@app.command()
def show(config: ConfigFiles = None) -> None:
    """Print the merged config (YAML), without what overlays take away."""
    import yaml

    typer.echo(yaml.safe_dump(dict(select.experiment(config).config), sort_keys=False), nl=False)


@app.command()
def keys(
    prefix: Annotated[str, typer.Argument(help="Only keys that begin so, e.g. evaluate.schedule")] = "",
) -> None:
    """List every key with what it means, its unit and its default."""
    from nino.config.schema import schema

    for key, meaning in _leaves(schema(), ""):
        if key.startswith(prefix):
            typer.echo(f"{key}\n    {meaning}")


def _leaves(node: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    from nino.config.schema import schema

    if "$ref" in node:
        node = schema()["$defs"][node["$ref"].rsplit("/", 1)[1]]
    if node.get("type") != "object":
        yield path, node["description"]
        return
    for name, child in node.get("properties", {}).items():
        yield from _leaves(child, f"{path}.{name}" if path else name)
    if isinstance(node.get("additionalProperties"), dict):
        yield from _leaves(node["additionalProperties"], f"{path}.NAME")
    for case in (*node.get("allOf", ()), node):
        for branch in (case[key] for key in ("then", "else") if key in case):
            yield from _leaves({"type": "object", "properties": branch["properties"]}, path)
