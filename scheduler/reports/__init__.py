"""What is told of a sweep's rows."""
