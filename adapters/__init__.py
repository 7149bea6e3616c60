"""Code that runs in a framework's own interpreter: Python 3.6 or newer, NumPy, that framework."""
