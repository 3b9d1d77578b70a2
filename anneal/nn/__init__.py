"""Neural network parts as pure functions: activations, losses, initialisers, layers.

A layer is a pair of functions: `init(key, ...) -> params` and `apply(params, x) -> y`.
"""

from anneal.nn.functions import (
    avg_pool,
    conv,
    cross_entropy,
    dense,
    gelu,
    layer_norm,
    log_softmax,
    logsumexp,
    max_pool,
    one_hot,
    relu,
    sigmoid,
    softmax,
)
from anneal.nn.initializers import conv_init, dense_init, glorot_uniform, he_normal

__all__ = [
    "avg_pool", "conv", "conv_init", "cross_entropy", "dense", "dense_init", "gelu",
    "glorot_uniform", "he_normal", "layer_norm", "log_softmax",
    "logsumexp", "max_pool", "one_hot", "relu", "sigmoid", "softmax",
]  # fmt: skip
