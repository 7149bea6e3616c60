"""What runs on the driver: a sweep becomes tasks, a plan, Ray tasks, Parquet and a report."""
