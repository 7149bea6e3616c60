"""The NumPy adapter, but what it imports is not there."""

import no_such_framework

from velodrome.adapters.frameworks.numpy.adapter import Adapter as Sound


class Adapter(Sound):
    backend = no_such_framework
