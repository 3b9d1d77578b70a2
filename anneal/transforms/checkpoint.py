"""checkpoint: derivatives compute a function's values again instead of keeping them.

In the graph it is a CALL that says so. Its derivative computes what lies within again, from AFTERs
of the operands, which make it wait for the cotangents of the results; so nothing within need be
kept from forward to backward.

Source: https://docs.jax.dev/en/latest/_autosummary/jax.checkpoint.html
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from anneal import tree
from anneal.array import Array
from anneal.provenance import called
from anneal.transforms import trace
from anneal.transforms.fold import fold
from anneal.transforms.jit import marked_arguments, split_static, with_static


def checkpoint(
    fun: Callable[..., Any] | None = None, *, static_argnums: int | Iterable[int] | None = None
) -> Any:
    """`fun`, whose derivatives compute its intermediate values again instead of keeping them.

    Values and derivatives are the same; memory is traded for work, as
    `jit(...).lower(...).memory_analysis()` shows. `fun` must be pure; what it reads from outside
    counts as its arguments. Static arguments are given to it as they are. Without `fun` a
    decorator.

    >>> import anneal
    >>> import anneal.numpy as anp
    >>> layer = anneal.checkpoint(lambda x: anp.tanh(x) * x)
    >>> float(anneal.grad(layer)(0.5)) == float(anneal.grad(lambda x: anp.tanh(x) * x)(0.5))
    True
    """
    if fun is None:
        return functools.partial(checkpoint, static_argnums=static_argnums)
    if not callable(fun):
        raise TypeError(f"checkpoint expects a function, got {type(fun).__name__}: {fun!r}")
    static, static_names = marked_arguments(fun, static_argnums, None, "static")

    @functools.wraps(fun)
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        fixed, args, kwargs = split_static(args, kwargs, static, static_names)
        leaves, in_tree = tree.flatten((args, kwargs))
        names = trace.paths_of(fun, args, kwargs)
        of = trace.name_of(fun)
        arrays = [trace.input_leaf(x, name, of) for x, name in zip(leaves, names, strict=True)]
        given = [x.uop for x in arrays]
        specs = [trace.spec_of(x) for x in arrays]
        traced = trace.trace(with_static(fun, fixed), specs, in_tree, names, given)
        done = fold(traced.graph, traced.first, recompute=True).called(given)
        if not any(u.traced for u in done):  # no derivative will be taken
            done = called(traced.graph, given)
        return traced.out_tree.unflatten(
            [Array(u, weak) for u, weak in zip(done, traced.out_weak, strict=True)]
        )

    return checkpointed
