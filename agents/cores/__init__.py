"""Which cores and GPUs a task gets, and locks so that no two tasks share one."""
