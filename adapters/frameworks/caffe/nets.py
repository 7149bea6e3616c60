"""Nets of one use: a net per batch, or per shape of sequences, all with the same weights."""

import contextlib
import tempfile
from typing import Any, Dict, NamedTuple, Tuple

import caffe

from velodrome.adapters.frameworks.caffe.network import Net, find_places
from velodrome.adapters.models import layers as kinds


class PlacedNet(NamedTuple):
    """A net, and where it has what.

    places: per parameter the name of its layer in Caffe and the number of its blob there. blobs:
    per layer of the model the blob in which it leaves what it gives.
    """

    net: Any
    places: Dict[str, Tuple[str, int]]
    blobs: Dict[str, str]

    def parameter(self, name):
        """Return a parameter's blob, which has `data` and `diff`."""
        layer, number = self.places[name]
        return self.net.params[layer][number]

    def result(self, name):
        """Return what a layer of the model, or `loss`, gave; the next call overwrites it."""
        return self.net.blobs[self.blobs.get(name, name)].data

    def give(self, arrays):
        """Copy arrays into the blobs of these names."""
        for name, array in arrays.items():
            self.net.blobs[name].data[...] = array


def describe_net(model, arrays, use):
    """Return the text of a net for arrays by name."""
    return Net(model, {name: array.shape for name, array in arrays.items()}, use)


def place_net(model, net, text):
    """Give a new net its constants, and return it as a PlacedNet. text: it was made of."""
    own = PlacedNet(net, find_places(model, text.label), text.blobs)
    own.give(text.constants)
    return own


def open_net(model, arrays, use):
    """Make a net for arrays by name, without weights."""
    text = describe_net(model, arrays, use)
    with written(text.text()) as path:
        return place_net(model, caffe.Net(path, use.phase), text)


@contextlib.contextmanager
def written(text):
    """Write a temporary file, and give its path: Caffe reads nets and solvers only from files."""
    with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
        file.write(text)
        file.flush()
        yield file.name


class NetSet(object):
    """The nets of one use. Batches of images have a net each, in which they lie before the clock.

    Tokens, which are few bytes in many batches, are copied into the net of their length by a call.
    """

    def __init__(self, model, weights, use):
        self._model, self._weights, self._use = model, weights, use
        self.nets = {}

    def load(self, batches):
        """Load batches, arrays by name; later ones of the same shapes use the existing nets."""
        self._batches, self._holds = batches, {}
        for index, arrays in enumerate(batches):
            key = self._key(index)
            if key not in self.nets:
                self.nets[key] = self._weights.join(open_net(self._model, arrays, self._use))
            self.find(index)

    def find(self, index):
        """Return the net with the batch in its blobs; it stays until another one needs the net."""
        key = self._key(index)
        own = self.nets[key]
        if self._holds.get(key) != index:
            own.give(self._batches[index])
            self._holds[key] = index
        return own

    def leave(self):
        """Let other nets no longer follow these, which are not used any more."""
        self._weights.leave(self.nets.values())

    def _key(self, index):
        """Return the key of the batch's net: its shape, or its number without sequences."""
        if isinstance(self._model.input, kinds.Sequences):
            return self._batches[index]["data"].shape
        return index
