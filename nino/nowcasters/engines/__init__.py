"""How the network is computed: on an edge list, streamed through tiles, with gradients, on a sample of the edges."""
