"""Runs a user's file of code: loads it, draws its batches, and computes its float64 reference.

velodrome.adapters.models.code_files reads such a file's constants without running it.
`own_code.py` in a framework's folder is its adapter.
"""
