"""The command line: every stage of the workflow, alone."""

from nino.cli.app import main

__all__ = ["main"]
