"""GPU check: a short run that shows if what Velodrome says of a machine's GPU holds."""
