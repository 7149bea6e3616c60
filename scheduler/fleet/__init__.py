"""Execution of a sweep on nodes: Ray, dispatch, retries of lost attempts."""
