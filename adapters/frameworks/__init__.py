"""Adapters of the frameworks, one folder each, with the locks of their environments."""
