"""Ceilings of a node: one large product, one large copy, and a canary of both.

`gemm` multiplies an n x n batch by an n x n weight (its loss is half the sum of squares over n, so
that the whole product is needed and gradient adds one more product). `copy` moves 256 MiB. `canary`
takes milliseconds; it runs before and after other tasks, to tell a slower machine from a slower
framework, and so it spends its time on a copy, in fresh memory, as well as on a product.
"""

from velodrome.adapters.models.layers import Duplicate, Linear, Model, NoLoss, SquaredError, Vectors

COPY_VALUES = 2**26  # float32: 256 MiB read and 256 MiB written, beyond any cache


def make_gemm(name: str, n: int) -> Model:
    return Model(
        name=name,
        about="one product of two %d x %d matrices" % (n, n),
        input=Vectors(n, "normal"),
        layers=(Linear("product", units=n, bias=False),),
        loss=SquaredError("zero"),
        classes=0,
        batch_size=n,
        gpu_batch_size=n,
    )


COPY = Model(
    name="copy",
    about="one copy of 256 MiB in memory",
    input=Vectors(COPY_VALUES, "uniform"),
    layers=(Duplicate("copy"),),
    loss=NoLoss(),
    classes=0,
    batch_size=1,
    gpu_batch_size=1,
)
# Few examples of many values: each is drawn from a stream of its own, which takes time to set up.
CANARY = Model(
    name="canary",
    about="one small copy, then one small product",
    input=Vectors(4096, "normal"),
    layers=(Duplicate("copy"), Linear("product", units=128, bias=False)),
    loss=SquaredError("zero"),
    classes=0,
    batch_size=128,
    gpu_batch_size=4096,
)
GEMMS = (make_gemm("gemm", 4096), make_gemm("gemm-2048", 2048), make_gemm("gemm-1024", 1024))
