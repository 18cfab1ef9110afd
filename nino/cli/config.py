"""``nino config``: look at a config without running anything."""

from __future__ import annotations

import json
from typing import Annotated

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
    from nino.specs import Config
    from nino.specs.schema import leaves, schema

    for key, meaning in leaves(schema(Config)):
        if key.startswith(prefix):
            typer.echo(f"{key}\n    {meaning}")


@app.command("schema")
def print_schema(
    site: Annotated[bool, typer.Option("--site", help="That of a cluster's site.yaml instead.")] = False,
) -> None:
    """Print the JSON Schema (2020-12) of a config, for editors; most of its keys may be left to config.yaml."""
    from nino.specs import Config, SiteSpec
    from nino.specs.schema import schema

    typer.echo(json.dumps(schema(SiteSpec if site else Config), indent=2))
