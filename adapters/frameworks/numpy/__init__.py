"""The float64 reference: every layer and loss in NumPy, written to be read."""
