"""The results of the report's tests, which releases are made of."""

from tests.report.conftest import complete, results, runs, spec

__all__ = ["complete", "results", "runs", "spec"]
