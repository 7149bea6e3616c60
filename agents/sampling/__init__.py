"""What a worker's tree, its node and its GPUs do, read from outside."""
