"""A worker kept apart: its session, cores, limits and its whole tree's end."""
