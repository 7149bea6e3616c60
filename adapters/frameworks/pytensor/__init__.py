"""PyTensor, on the CPU: its C linker and Numba."""
