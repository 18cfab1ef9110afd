"""Past parameter states and a graph in, future parameters out."""
