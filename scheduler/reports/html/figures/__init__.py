"""Figures of the HTML page."""
