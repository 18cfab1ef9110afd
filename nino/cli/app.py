"""The ``nino`` command: parses, calls, and says what went wrong in one line.

Nothing heavy is imported before a command runs: ``nino --help`` does not wait for torch.

Exit codes: 0 done; 1 the work failed, or ``verify`` found a difference; 2 the command or its config cannot be used;
130 interrupted.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated

import typer

from nino.allocator import keep_freed_memory
from nino.cli import check, config, convert, evaluate, init, models, plan, reports, stages, studies
from nino.cli.messages import message
from nino.config.errors import ConfigError
from nino.kernels import choose_kernels
from nino.threads import from_environment
from nino.version import __version__

app = typer.Typer(
    name="nino",
    help="Weight nowcasting: every stage from data to tables.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    *(init.init, plan.plan),
    *(stages.data, stages.collect, stages.join, stages.datasheet, stages.metatrain, stages.card, stages.l2o),
    *(evaluate.evaluate, convert.convert),
    *(reports.tables, reports.figures, reports.manifest, reports.verify, reports.study),
    *(reports.release, reports.leaderboard),
    *(models.graph, models.step, models.merge, check.check),
    *(studies.permutation, studies.overhead),
):
    app.command()(command)
app.command(hidden=True)(plan.room)
app.add_typer(config.app, name="config", rich_help_panel=None)

_debug = False


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"nino {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from (traceback).")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Log warnings and errors only.")] = False,
) -> None:
    """Weight nowcasting: every stage from data to tables."""
    global _debug
    _debug = debug
    logging.basicConfig(
        level=logging.WARNING if quiet else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
        stream=sys.stderr,
    )


def main() -> None:
    """Run the command line; errors that a user can act on end in one line and an exit code."""
    keep_freed_memory()
    try:
        choose_kernels()  # as with the threads: the libraries look when they are loaded
        if (threads := from_environment()) is not None:  # torch and NumPy look when they are loaded, which is later
            os.environ.setdefault("OMP_NUM_THREADS", str(threads))
        app()
    except ConfigError as error:
        fail(error, str(error), 2)
    except Exception as error:
        text = message(error)
        if text is None:
            raise  # a fault of this package, whose traceback its authors want
        fail(error, text, 1)


def fail(error: Exception, text: str, code: int) -> None:
    """Print an error, its traceback only if asked for, and exit.

    Raises:
        SystemExit: always.
    """
    if _debug:
        raise error
    for line in text.splitlines():
        typer.echo(f"nino: error: {line}", err=True)
    sys.exit(code)
