"""What numbers are worth: pure functions of samples and rows, each citing its source."""
