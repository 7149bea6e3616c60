"""The nodes, and what is done on them: Ray, dispatch, what becomes of a lost attempt."""
