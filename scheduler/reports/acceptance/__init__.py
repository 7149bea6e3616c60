"""Acceptance of a fleet: a verdict for each node and GPU."""
