"""Neural network parts as pure functions: activations, losses, initialisers, layers.

A layer is a pair of functions: `init(key, ...) -> params` and `apply(params, x) -> y`.
"""

from anneal.nn import initializers
from anneal.nn.activations import (
    dropout,
    elu,
    glu,
    hard_sigmoid,
    hard_tanh,
    leaky_relu,
    log_sigmoid,
    relu6,
    selu,
    silu,
    soft_sign,
    softplus,
    standardize,
    swish,
)
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
from anneal.nn.initializers import conv_init, dense_init, layer_norm_init

__all__ = [
    "avg_pool", "conv", "conv_init", "cross_entropy", "dense", "dense_init", "dropout", "elu",
    "gelu", "glu", "hard_sigmoid", "hard_tanh", "initializers", "layer_norm", "layer_norm_init",
    "leaky_relu", "log_sigmoid", "log_softmax", "logsumexp", "max_pool", "one_hot", "relu",
    "relu6", "selu", "sigmoid", "silu", "soft_sign", "softmax", "softplus", "standardize",
    "swish",
]  # fmt: skip
