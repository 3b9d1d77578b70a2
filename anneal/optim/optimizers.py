"""SGD, momentum, Adam, AdamW and RMSprop: chains of transformations.

>>> import anneal, anneal.numpy as anp
>>> from anneal import optim
>>> optimizer = optim.adam(0.1)
>>> params = anp.asarray([1.0, -1.0])
>>> state = optimizer.init(params)
>>> grads = anneal.grad(lambda p: (p * p).sum())(params)
>>> updates, state = optimizer.update(grads, state, params)
>>> anp.round(optim.apply_updates(params, updates), 3).tolist() == anp.asarray([0.9, -0.9]).tolist()
True
"""

from __future__ import annotations

from anneal.optim.transformations import (
    GradientTransformation,
    Schedule,
    add_decayed_weights,
    chain,
    scale_by_adam,
    scale_by_learning_rate,
    scale_by_rms,
    trace,
)


def sgd(learning_rate: float | Schedule, momentum: float | None = None,
        nesterov: bool = False) -> GradientTransformation:  # fmt: skip
    """Steps of -learning_rate times the gradient, or its decaying sum if `momentum` is given."""
    step = scale_by_learning_rate(learning_rate)
    return step if momentum is None else chain(trace(momentum, nesterov), step)


def momentum(learning_rate: float | Schedule, decay: float = 0.9,
             nesterov: bool = False) -> GradientTransformation:  # fmt: skip
    """Steps along a decaying sum of gradients (B. T. Polyak, 1964): sgd with momentum."""
    return sgd(learning_rate, decay, nesterov)


def adam(learning_rate: float | Schedule, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8,
         eps_root: float = 0.0) -> GradientTransformation:  # fmt: skip
    """Adam with corrected bias (D. P. Kingma and J. Ba, 2014)."""
    return chain(scale_by_adam(b1, b2, eps, eps_root), scale_by_learning_rate(learning_rate))


def adamw(learning_rate: float | Schedule, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8,
          eps_root: float = 0.0, weight_decay: float = 1e-4) -> GradientTransformation:  # fmt: skip
    """Adam with weight decay apart from the gradient (I. Loshchilov and F. Hutter, 2017)."""
    return chain(scale_by_adam(b1, b2, eps, eps_root), add_decayed_weights(weight_decay),
                 scale_by_learning_rate(learning_rate))  # fmt: skip


def rmsprop(learning_rate: float | Schedule, decay: float = 0.9,
            eps: float = 1e-8) -> GradientTransformation:  # fmt: skip
    """Steps over the root of the average of squared gradients (T. Tieleman, G. Hinton, 2012)."""
    return chain(scale_by_rms(decay, eps), scale_by_learning_rate(learning_rate))
