"""The results: rows are written whole and once, and read as tables."""
