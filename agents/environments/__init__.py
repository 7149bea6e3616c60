"""Environments of frameworks: recipes, locks, builds, checks."""
