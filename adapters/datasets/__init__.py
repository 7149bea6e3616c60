"""Data sets on disk, for the phases that time a framework's own loader."""
