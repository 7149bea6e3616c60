"""NumPy on several processes, in which the tests of adapters plant faults."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[3] / "adapters" / "planted"))

from numpy_group import Adapter as Adapter
