"""Theano 1.0, on the CPU."""
