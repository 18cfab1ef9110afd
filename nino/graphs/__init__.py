"""A network's parameters as a neural graph: groups of neurons joined by blocks of edges."""
