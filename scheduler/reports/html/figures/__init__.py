"""The figures of a page: Vega-Lite specifications with the rows that they draw."""
