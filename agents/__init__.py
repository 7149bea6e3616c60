"""The node agent: inventory, environments, isolation, sampling, execution of one task."""
