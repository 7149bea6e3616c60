"""Random inputs of the models in NumPy: digits, photographs, pixels in a row, sentences, texts."""

import numpy as np

EXAMPLES = 1989
QUANTILES = (12, 43, 48, 52, 55, 58, 61, 64, 66, 68, 71, 74, 77, 79, 82, 85, 88, 91, 94, 96, 99)
VOCABULARY = 10000


def digits(batch_size):
    """Images (batch, 1, 28, 28) float32, standard normal, and labels (batch,) int32, 0 to 9."""
    images = np.random.standard_normal((batch_size, 1, 28, 28)).astype(np.float32)
    return images, np.random.randint(10, size=batch_size).astype(np.int32)


def photographs(batch_size):
    """Images (batch, 3, 224, 224) float32, standard normal, and labels (batch,), 0 to 999."""
    images = np.random.standard_normal((batch_size, 3, 224, 224)).astype(np.float32)
    return images, np.random.randint(1000, size=batch_size).astype(np.int32)


def texts(batch_size, length):
    """Words (batch, length) int32 of GPT-2's vocabulary, and as many labels."""
    words = np.random.randint(50257, size=(2, batch_size, length)).astype(np.int32)
    return words[0], words[1]


def pixels(batch_size):
    """Vectors (batch, 784) float32, uniform, and labels (batch,) int32, 0 to 9."""
    vectors = np.random.random_sample((batch_size, 784)).astype(np.float32)
    return vectors, np.random.randint(10, size=batch_size).astype(np.int32)


def sentences(batch_size):
    """All batches of (tokens (time, batch), lengths, labels), int32, by ascending length.

    Behind a sentence its tokens are 0. The lengths lie on straight lines between their quantiles.
    """
    at = np.linspace(0, len(QUANTILES) - 1, EXAMPLES)
    every = np.floor(np.interp(at, np.arange(len(QUANTILES)), QUANTILES) + 0.5).astype(np.int32)
    batches = []
    for start in range(0, EXAMPLES - batch_size + 1, batch_size):
        lengths = every[start : start + batch_size]
        tokens = np.random.randint(1, VOCABULARY, (lengths.max(), batch_size)).astype(np.int32)
        tokens[np.arange(lengths.max())[:, None] >= lengths] = 0
        batches.append((tokens, lengths, np.random.randint(2, size=batch_size).astype(np.int32)))
    return batches


def weight(*shape, **fan):
    """Standard normal over the square root of fan_in, by default all but the last axis."""
    fan_in = fan.get("fan_in") or np.prod(shape[:-1])
    return (np.random.standard_normal(shape) / np.sqrt(float(fan_in))).astype(np.float32)


def bias(units):
    return (0.1 * np.random.standard_normal(units)).astype(np.float32)
