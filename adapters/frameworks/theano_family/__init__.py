"""What Theano and its heirs share: a model as a symbolic graph, compiled into two functions."""
