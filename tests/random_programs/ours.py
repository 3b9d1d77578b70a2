"""anneal under the names that random programs use: `reference` has the same ones."""

from __future__ import annotations

from typing import Any

import anneal.numpy as anp
from anneal import nn

_NN = frozenset({"softmax", "log_softmax", "logsumexp", "cross_entropy", "gelu", "softplus",
                 "one_hot", "relu", "sigmoid"})  # fmt: skip


def __getattr__(name: str) -> Any:
    how, _, update = name.partition("_")
    if how == "at":
        return lambda x, key, v: getattr(x.at[key], update)(v)
    return getattr(nn if name in _NN else anp, name)
