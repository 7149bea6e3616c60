"""What runs inside a framework's own interpreter: Python 3.6 or newer, NumPy and that framework."""
