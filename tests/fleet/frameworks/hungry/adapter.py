"""NumPy on several processes, of which rank 1 needs more memory at each gradient."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[3] / "adapters" / "planted"))

from numpy_group import Adapter as Adapter
