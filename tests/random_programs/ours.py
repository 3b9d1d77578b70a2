"""anneal under the names that random programs use: `reference` has the same ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anneal
import anneal.numpy as anp
from anneal import nn

_NN = frozenset({"softmax", "log_softmax", "logsumexp", "cross_entropy", "gelu", "softplus",
                 "one_hot", "relu", "sigmoid"})  # fmt: skip


def called(kind: str, f: Callable[..., Any], *args: Any) -> Any:
    """`f(*args)`, where `f` is what `kind` says."""
    for mark in reversed(kind.split(" of ")):
        f = getattr(anneal, mark)(f)
    return f(*args)


def __getattr__(name: str) -> Any:
    how, _, update = name.partition("_")
    if how == "at":
        return lambda x, key, v: getattr(x.at[key], update)(v)
    return getattr(nn if name in _NN else anp, name)
