"""PyTensor 3, on the CPU: Numba and its C linker."""
