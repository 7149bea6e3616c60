"""What runs on a node: inventory, environments, isolation, sampling, execution of one task."""
