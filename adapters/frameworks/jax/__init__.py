"""JAX: jit and eager, on the CPU and on CUDA."""
