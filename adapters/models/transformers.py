"""Transformers: GPT-2, BERT, a vision transformer, a Llama 3 block, and a small twin of each.

GPT-2: Radford et al., Language models are unsupervised multitask learners, 2019. BERT: Devlin,
Chang, Lee and Toutanova, NAACL 2019; one segment, so without segment embedding, and GELU in its
tanh form. ViT: Dosovitskiy et al., An image is worth 16 x 16 words, ICLR 2021. Llama: Grattafiori
et al., The Llama 3 herd of models, 2024. All are without dropout, as large models are trained.
"""

from typing import List, Tuple

from velodrome.adapters.models.layers import (
    Add,
    Attention,
    ClassToken,
    Conv,
    Embedding,
    FirstStep,
    Gelu,
    Images,
    Layer,
    LayerNorm,
    LearnedPositions,
    Linear,
    Model,
    Multiply,
    Patches,
    RmsNorm,
    Sequences,
    Silu,
    SoftmaxCrossEntropy,
    SquaredError,
    States,
    StepCrossEntropy,
    StepLinear,
    Tanh,
    TiedLinear,
    Tokens,
)

BERT_EPSILON, VIT_EPSILON = 1e-12, 1e-6


def make_gpt2(
    name: str, length: int, size: Tuple[int, int, int], words: Tuple[int, int], gpu_batch_size: int
) -> Model:
    """Return a decoder of next words. size: blocks, width, heads; words: vocabulary, positions."""
    blocks, n, heads = size
    vocabulary, positions = words
    layers: List[Layer] = [
        Embedding("embedding", vocabulary, n),
        LearnedPositions("positions", positions),
    ]
    before = "positions"
    for number in range(blocks):
        own = "block{}".format(number + 1)
        layers += _attend_before(own, before, Attention("", heads, causal=True, bias=True), 1e-5)
        layers += _feed_before(own, n, 1e-5)
        before = own
    layers += [LayerNorm("norm"), TiedLinear("words", embedding="embedding")]
    about = "{} decoder blocks of width {}, {} tokens, tied embedding".format(blocks, n, length)
    source = Tokens(vocabulary, length)
    loss = StepCrossEntropy()
    return Model(name, about, source, tuple(layers), loss, vocabulary, 1, gpu_batch_size)


def make_bert(
    name: str,
    lengths: Tuple[int, ...],
    size: Tuple[int, int, int],
    words: Tuple[int, int],
    batch_sizes: Tuple[int, int],
) -> Model:
    """Return an encoder with a classifier of the first word. lengths: of all examples."""
    blocks, n, heads = size
    vocabulary, positions = words
    layers: List[Layer] = [
        Embedding("embedding", vocabulary, n),
        LearnedPositions("positions", positions),
        LayerNorm("norm", BERT_EPSILON),
    ]
    before = "norm"
    for number in range(blocks):
        own = "block{}".format(number + 1)
        layers += [
            Attention(own + "_attention", heads, inputs=(before,), bias=True),
            Add(own + "_sum1", inputs=(own + "_attention", before)),
            LayerNorm(own + "_norm1", BERT_EPSILON),
            StepLinear(own + "_linear1", 4 * n),
            Gelu(own + "_gelu"),
            StepLinear(own + "_linear2", n),
            Add(own + "_sum2", inputs=(own + "_linear2", own + "_norm1")),
            LayerNorm(own, BERT_EPSILON),
        ]
        before = own
    layers += [FirstStep("first"), Linear("pooler", n), Tanh("tanh"), Linear("classifier", 2)]
    about = "{} encoder blocks of width {}, up to {} tokens, padded".format(blocks, n, lengths[-1])
    source = Sequences(vocabulary, lengths)
    return Model(name, about, source, tuple(layers), SoftmaxCrossEntropy(), 2, *batch_sizes)


def make_vit(
    name: str,
    source: Images,
    patch: int,
    size: Tuple[int, int, int],
    classes: int,
    batch_sizes: Tuple[int, int],
) -> Model:
    """Return an encoder over patches of an image. size: blocks, width, heads."""
    blocks, n, heads = size
    steps = source.height // patch * (source.width // patch) + 1
    layers: List[Layer] = [
        Conv("patches", n, patch, patch),
        Patches("sequence"),
        ClassToken("class"),
        LearnedPositions("positions", steps),
    ]
    before = "positions"
    for number in range(blocks):
        own = "block{}".format(number + 1)
        layers += _attend_before(own, before, Attention("", heads, bias=True), VIT_EPSILON)
        layers += _feed_before(own, n, VIT_EPSILON)
        before = own
    layers += [LayerNorm("norm", VIT_EPSILON), FirstStep("first"), Linear("classifier", classes)]
    about = "{} encoder blocks of width {} over {} x {} patches".format(blocks, n, patch, patch)
    loss = SoftmaxCrossEntropy()
    return Model(name, about, source, tuple(layers), loss, classes, *batch_sizes)


def make_llama_block(
    name: str, length: int, size: Tuple[int, int, int, int], rotary: float
) -> Model:
    """Return one decoder block on hidden states. size: width, heads, key-value heads, inner width.

    Its loss is half the sum of the squares of what it gives, over the batch.
    """
    n, heads, key_value_heads, inner = size
    attention = Attention(
        "attention", heads, causal=True, key_value_heads=key_value_heads, rotary=rotary
    )
    layers: Tuple[Layer, ...] = (
        RmsNorm("norm1"),
        attention,
        Add("sum", inputs=("attention", "input")),
        RmsNorm("norm2"),
        StepLinear("gate", inner, bias=False),
        Silu("silu"),
        StepLinear("up", inner, bias=False, inputs=("norm2",)),
        Multiply("gated", inputs=("silu", "up")),
        StepLinear("down", n, bias=False),
        Add("block", inputs=("down", "sum")),
    )
    about = "one decoder block of width {}, {} tokens, rotary, SwiGLU".format(n, length)
    return Model(name, about, States(length, n), layers, SquaredError("zero"), 0, 1, 1)


def _attend_before(
    block: str, before: str, attention: Attention, epsilon: float
) -> Tuple[Layer, ...]:
    """Return the normalized attention of a block and the sum with the block's input."""
    return (
        LayerNorm(block + "_norm1", epsilon, inputs=(before,)),
        attention._replace(name=block + "_attention"),
        Add(block + "_sum", inputs=(block + "_attention", before)),
    )


def _feed_before(block: str, n: int, epsilon: float) -> Tuple[Layer, ...]:
    """Return the normalized two linear layers of a block and the sum that ends it."""
    return (
        LayerNorm(block + "_norm2", epsilon),
        StepLinear(block + "_linear1", 4 * n),
        Gelu(block + "_gelu"),
        StepLinear(block + "_linear2", n),
        Add(block, inputs=(block + "_linear2", block + "_sum")),
    )


GPT2_SIZE, GPT2_WORDS = (12, 768, 12), (50257, 1024)
LLAMA_SIZE, LLAMA_ROTARY = (4096, 32, 8, 14336), 500000.0
BERT_LENGTHS = tuple(range(98, 130, 2))  # four batches of four

TRANSFORMERS: Tuple[Model, ...] = (
    make_vit("vit-b16", Images(3, 224, 224), 16, (12, 768, 12), 1000, (2, 128)),
    make_bert("bert-base", BERT_LENGTHS, (12, 768, 12), (30522, 512), (4, 8)),
    make_gpt2("gpt2-128", 128, GPT2_SIZE, GPT2_WORDS, 8),
    make_gpt2("gpt2-1024", 1024, GPT2_SIZE, GPT2_WORDS, 8),
    make_llama_block("llama-block-128", 128, LLAMA_SIZE, LLAMA_ROTARY),
    make_llama_block("llama-block-4096", 4096, LLAMA_SIZE, LLAMA_ROTARY),
    make_vit("vit-b16-tiny", Images(3, 16, 16), 4, (2, 32, 4), 10, (4, 4)),
    make_bert("bert-base-tiny", (3, 4, 6, 7, 8, 9, 11, 12), (2, 32, 4), (60, 16), (4, 4)),
    make_gpt2("gpt2-tiny", 12, (2, 32, 4), (60, 16), 2)._replace(batch_size=2),
    make_llama_block("llama-block-tiny", 12, (32, 4, 2, 48), 10000.0)._replace(
        batch_size=2, gpu_batch_size=2
    ),
)
