"""PyTorch: eager, channels_last and torch.compile, on the CPU and on CUDA."""
