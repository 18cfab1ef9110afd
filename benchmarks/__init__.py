"""Measurements: what the library costs, each number with the command and the machine that gave it."""
