"""CPU contexts of MXNet that share each batch, with the kvstore that adds up their gradients."""

import mxnet
from mxnet import autograd, nd


class SharedContexts(object):
    """Contexts of one process, by number; kvstore `device` adds up gradients between them."""

    def __init__(self, count):
        self.contexts = [mxnet.cpu(number) for number in range(count)]
        self._store = mxnet.kvstore.create("device")
        self.shares = [1.0 / count] * count  # of each context's loss

    def keep(self, parameters):
        """Take the trained parameters of Gluon whose gradients are to be reduced."""
        self._keys = list(range(len(parameters)))
        self._gradients = [parameter.list_grad() for parameter in parameters]
        for key, parameter in zip(self._keys, parameters):
            self._store.init(key, nd.zeros(parameter.shape))

    def go_backward(self, losses):
        """Write the mean gradient of all contexts to each."""
        heads = [
            nd.full(loss.shape, share, ctx=context)
            for loss, share, context in zip(losses, self.shares, self.contexts)
        ]
        autograd.backward(losses, heads)
        for key, gradients in zip(self._keys, self._gradients):
            self._store.push(key, gradients, priority=-key)
            self._store.pull(key, gradients, priority=-key)

    def notes(self):
        text = "data parallel on {} contexts of one process, by kvstore device in float32"
        yield text.format(len(self.contexts))
