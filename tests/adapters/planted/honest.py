"""The adapter of the framework in whose interpreter this runs: what a fault is planted in."""

import importlib
import os

Honest = importlib.import_module(os.environ["PLANTED_IN"]).Adapter
CHECKED = 5  # calls of a phase that are honest, among them all that verify it
