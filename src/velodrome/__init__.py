"""Velodrome times deep-learning frameworks on a fleet: every one alone, against the clock."""
