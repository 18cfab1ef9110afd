"""Evaluation: train a task with a method, and measure the steps and seconds that it took to the target."""
