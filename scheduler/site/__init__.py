"""The trend site: a folder of static pages with the history of every cell."""
