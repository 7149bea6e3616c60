"""The adapter of this interpreter's framework, for planting a fault in it."""

import importlib
import os

Honest = importlib.import_module(os.environ["PLANTED_IN"]).Adapter
CHECKED = 5  # calls of a phase that are honest, among them all that verify it
