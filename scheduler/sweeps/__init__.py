"""A sweep's file, and the cells that it stands for."""
