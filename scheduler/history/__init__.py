"""The history of nightly runs: changepoints, detectable changes, anomalies of the latest run."""
