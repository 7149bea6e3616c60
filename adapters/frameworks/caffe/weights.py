"""The values of a model's parameters, in all nets that compute with them."""

from velodrome.adapters.frameworks.caffe.network import reorder
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes

# If nets shared these layers, the copies of their weights inside an unrolled net would not follow.
COPIED = (kinds.Lstm, kinds.Gru)


class NetWeights(object):
    """Float32 values, in the memory that all nets share, or in copies where they cannot."""

    def __init__(self, model, values):
        """values: as for Adapter.build, canonical layout."""
        self._model, self._nets = model, []
        self._entries = {entry.name: entry for entry in shapes.list_parameters(model)}
        copied = {layer.name for layer in model.layers if isinstance(layer, COPIED)}
        self._copied = [name for name, entry in self._entries.items() if entry.layer in copied]
        self._values = {name: self._reorder(name, values[name]) for name in self._entries}
        self.trained = [entry.name for entry in shapes.list_trained(model)]

    def fill(self, own):
        """Give a net the values: the memory of another net's, and copies of the other ones."""
        like = self._nets[0].net if self._nets else None
        if like:
            own.net.share_with(like)
        for name, (layer, _) in own.places.items():
            if not (like and layer in like.params):
                self._put(own, name)

    def join(self, own):
        """Fill a net, which follows later changes until it leaves; return it."""
        self.fill(own)
        self._nets.append(own)
        return own

    def leave(self, nets):
        """Let nets go that are not used any more."""
        gone = {id(own) for own in nets}
        self._nets = [own for own in self._nets if id(own) not in gone]

    def assign(self, name, values):
        """Give a parameter other values in all nets, canonical layout."""
        self._values[name] = self._reorder(name, values)
        for own in self._nets if name in self._copied else self._nets[:1]:
            self._put(own, name)

    def spread(self, source):
        """Give the values of copied parameters in one net to all others."""
        for name in self._copied:
            values = source.parameter(name).data
            for own in self._nets:
                if own is not source:
                    own.parameter(name).data[...] = values

    def convert(self, name, array):
        """Return a copy of a parameter's values or gradient in canonical layout."""
        return self._reorder(name, array.reshape(self._entries[name].shape).copy())

    def _put(self, own, name):
        blob = own.parameter(name)
        blob.data[...] = self._values[name].reshape(blob.data.shape)

    def _reorder(self, name, array):
        return reorder(self._model, self._entries[name], array)
