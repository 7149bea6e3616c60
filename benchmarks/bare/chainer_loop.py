"""LeNet and an auto-encoder's fine-tuning by hand in Chainer: chains of links, with iDeep if there.

python chainer_loop.py lenet --batch-size 64 --threads 1 [--seconds 4] [--samples 10]
"""

import chainer
import chainer.functions as F
import chainer.links as L
from drawing import digits, pixels
from loop import Calls, main


class LeNet(chainer.Chain):
    def __init__(self):
        super(LeNet, self).__init__()
        with self.init_scope():
            self.conv1 = L.Convolution2D(1, 20, 5)
            self.conv2 = L.Convolution2D(20, 50, 5)
            self.fc1 = L.Linear(800, 500)
            self.fc2 = L.Linear(500, 10)

    def forward(self, x):
        x = F.tanh(F.max_pooling_2d(self.conv1(x), 2))
        x = F.tanh(F.max_pooling_2d(self.conv2(x), 2))
        return self.fc2(F.relu(self.fc1(x)))


class AutoEncoder(chainer.Chain):
    def __init__(self):
        super(AutoEncoder, self).__init__()
        with self.init_scope():
            self.encoder1 = L.Linear(784, 400)
            self.encoder2 = L.Linear(400, 200)
            self.encoder3 = L.Linear(200, 100)
            self.classifier = L.Linear(100, 10)

    def forward(self, x):
        for encoder in (self.encoder1, self.encoder2, self.encoder3):
            x = F.sigmoid(encoder(x))
        return self.classifier(x)


MODELS = {"lenet": (LeNet, digits), "autoencoder-400-200-100/finetune": (AutoEncoder, pixels)}


def make(model, batch_size, threads):
    """threads: NumPy's BLAS and iDeep have read their variables by now."""
    network, drawn = MODELS[model]
    ideep = chainer.backends.intel64.is_ideep_available()
    chainer.config.use_ideep = "always" if ideep else "never"
    device = chainer.get_device("@intel64" if ideep else "@numpy")
    device.use()
    classifier = L.Classifier(network())
    classifier.compute_accuracy = False
    classifier.to_device(device)
    inputs, labels = (device.send(own) for own in drawn(batch_size))

    def forward(index):
        with chainer.no_backprop_mode():
            return classifier(inputs, labels)

    def gradient(index):
        classifier.cleargrads()
        loss = classifier(inputs, labels)
        loss.backward()
        return loss

    return Calls(forward, gradient, lambda: None)


if __name__ == "__main__":
    main(make, MODELS)
