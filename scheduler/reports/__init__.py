"""Reports on the rows of a sweep: tables, flat rows and the HTML page."""
