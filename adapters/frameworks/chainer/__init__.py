"""Chainer: iDeep (oneDNN) and NumPy, on the CPU."""
