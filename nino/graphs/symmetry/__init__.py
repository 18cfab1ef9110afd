"""Which neurons a graph calls interchangeable, and whether exchanging them really leaves the outputs as they are."""
