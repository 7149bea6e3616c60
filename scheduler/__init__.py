"""Driver side of Velodrome: a sweep becomes tasks, a plan, Ray tasks, Parquet and a report."""
