"""The NumPy adapter, but building it prints a gigabyte; its numbers are sound."""

import os
import sys

from velodrome.adapters.frameworks.numpy.adapter import Adapter as Sound

LINE = "x" * 1023 + "\n"


class Adapter(Sound):
    def build(self, weights):
        mib = LINE * 1024
        for _ in range(1024):
            sys.stdout.write(mib)
        print("the flood is over", flush=True)
        os.write(2, b"\x1b]0;a title\x07\x1b[31mand a red end\x1b[0m\n")
        super().build(weights)
