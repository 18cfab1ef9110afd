"""What stops a run before any job."""

from __future__ import annotations

from collections.abc import Sequence


class ConfigError(ValueError):
    """A config that cannot be run.

    Args:
        problems: one sentence each; every one names its key.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        """Keep the problems, and make one message of them."""
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))
