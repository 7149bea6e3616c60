"""Theano and its successors: a model as a symbolic graph, compiled into two functions."""
