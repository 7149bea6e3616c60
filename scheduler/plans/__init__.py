"""Where every cell of a sweep runs, and what is expected of it. Pure."""
