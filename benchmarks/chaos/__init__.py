"""Faults injected into real commands, over and over: `python -m benchmarks.chaos`."""
