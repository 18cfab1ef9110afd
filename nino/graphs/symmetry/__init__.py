"""What a graph calls interchangeable, and whether the network's function agrees: ranges, wholes, the comparison."""
