"""Checkpoints of many trainings: collecting, storing and sampling them."""
