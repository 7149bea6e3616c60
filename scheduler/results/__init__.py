"""The results folder: rows go in whole and once, and come out as tables."""
