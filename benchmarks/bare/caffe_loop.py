"""LeNet and an auto-encoder's fine-tuning by hand in Caffe: a prototxt, run by pycaffe.

python caffe_loop.py lenet --batch-size 64 --threads 1 [--seconds 4] [--samples 10]
"""

import os
import tempfile

os.environ.setdefault("GLOG_minloglevel", "2")  # without it, Caffe logs each layer

import caffe
from drawing import digits, pixels
from loop import Calls, main

INPUTS = """
layer { name: "data" type: "Input" top: "data" top: "label"
        input_param { shape { %s } shape { dim: %d } } }
"""
LOSS = """
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "%s" bottom: "label" top: "loss" }
"""
INITIAL = """weight_filler { type: "xavier" } bias_filler { type: "constant" value: 0.1 }"""


def convolution(name, bottom, maps):
    return """
layer { name: "%s" type: "Convolution" bottom: "%s" top: "%s"
        convolution_param { num_output: %d kernel_size: 5 %s } }
""" % (name, bottom, name, maps, INITIAL)


def pooling(name, bottom):
    return """
layer { name: "%s" type: "Pooling" bottom: "%s" top: "%s"
        pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
""" % (name, bottom, name)


def inner_product(name, bottom, units):
    return """
layer { name: "%s" type: "InnerProduct" bottom: "%s" top: "%s"
        inner_product_param { num_output: %d %s } }
""" % (name, bottom, name, units, INITIAL)


def in_place(kind, blob):
    return """
layer { name: "%s-%s" type: "%s" bottom: "%s" top: "%s" }
""" % (blob, kind, kind, blob, blob)


LENET = (
    convolution("conv1", "data", 20)
    + pooling("pool1", "conv1")
    + in_place("TanH", "pool1")
    + convolution("conv2", "pool1", 50)
    + pooling("pool2", "conv2")
    + in_place("TanH", "pool2")
    + inner_product("fc1", "pool2", 500)
    + in_place("ReLU", "fc1")
    + inner_product("fc2", "fc1", 10)
    + LOSS % "fc2"
)
AUTOENCODER = (
    inner_product("encoder1", "data", 400)
    + in_place("Sigmoid", "encoder1")
    + inner_product("encoder2", "encoder1", 200)
    + in_place("Sigmoid", "encoder2")
    + inner_product("encoder3", "encoder2", 100)
    + in_place("Sigmoid", "encoder3")
    + inner_product("classifier", "encoder3", 10)
    + LOSS % "classifier"
)
MODELS = {"lenet": (LENET, digits), "autoencoder-400-200-100/finetune": (AUTOENCODER, pixels)}


def loaded(prototxt):
    """Caffe reads a net from a file alone."""
    with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
        file.write(prototxt)
        file.flush()
        return caffe.Net(file.name, caffe.TRAIN)


def make(model, batch_size, threads):
    """threads: OpenBLAS has read its variable by now."""
    caffe.set_mode_cpu()
    layers, drawn = MODELS[model]
    inputs, labels = drawn(batch_size)
    dims = " ".join("dim: %d" % length for length in inputs.shape)
    net = loaded(INPUTS % (dims, batch_size) + layers)
    net.blobs["data"].data[...] = inputs
    net.blobs["label"].data[...] = labels

    def gradient(index):
        net.clear_param_diffs()
        net.forward()
        net.backward()

    return Calls(lambda index: net.forward(), gradient, lambda: None)


if __name__ == "__main__":
    main(make, MODELS)
