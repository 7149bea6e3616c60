"""The user-defined operation of the probe, as a Caffe layer in Python."""

import caffe
import numpy


class SignedSquareLayer(caffe.Layer):
    """y = x |x|, with a backward rule of its own."""

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        values = bottom[0].data
        top[0].data[...] = values * numpy.abs(values)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            size = numpy.abs(bottom[0].data)
            bottom[0].diff[...] = top[0].diff * 2 * size / (1 + size)
