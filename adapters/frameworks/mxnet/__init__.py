"""Apache MXNet: Gluon hybridized, threaded and imperative, on the CPU."""
