"""Two sets of results, cell by cell: what is faster, what slower, and what cannot be told."""
