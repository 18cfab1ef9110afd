"""Studies of the paper that are no training runs: each a measurement, a table and a figure."""
