"""Nightly runs: confirmation, explanation, summary and JUnit XML."""
