"""Statistics of the samples of one timed phase: intervals, autocorrelation, drift, when to stop."""
