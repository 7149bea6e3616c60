"""Worker isolation: sessions, cores, limits, and the end of the whole process tree."""
