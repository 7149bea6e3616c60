"""Sweep files, and the cells that they describe."""
