"""Cores and GPUs of a task, and locks so that no two tasks share one."""
