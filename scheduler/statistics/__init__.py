"""Statistics of samples and rows: pure functions, each citing its source."""
