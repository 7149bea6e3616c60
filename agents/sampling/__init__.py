"""Sampling from outside: a worker's process tree, its node and its GPUs."""
