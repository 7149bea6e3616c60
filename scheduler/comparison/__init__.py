"""Two sets of results, cell by cell: faster, slower or undecided."""
