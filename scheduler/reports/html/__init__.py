"""The HTML report of a sweep: one file that opens offline."""
