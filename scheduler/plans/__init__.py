"""Plans: the node for every cell of a sweep, and the expected outcomes. Pure."""
