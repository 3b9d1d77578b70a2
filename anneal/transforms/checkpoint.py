"""checkpoint: derivatives compute a function's values again instead of keeping them.

In the graph a result is a CHECKPOINT: the result itself, and what it was computed from. `gradient`
computes what lies between again, from AFTERs of the latter, which make it wait for the cotangents
of the results; so nothing between need be kept from forward to backward.

Source: https://docs.jax.dev/en/latest/_autosummary/jax.checkpoint.html
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from anneal import tree
from anneal.array import Array
from anneal.transforms import trace
from anneal.transforms.jit import marked_arguments
from anneal.uop import ops
from anneal.uop.uop import UOp, substitute, toposort

_CONSTANT = frozenset({ops.CONST, ops.ARANGE})


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
        places = {n % len(args) for n in static if -len(args) <= n < len(args)}
        traced = [None if i in places else a for i, a in enumerate(args)]
        fixed = {k: x for k, x in kwargs.items() if k in static_names}
        options = {k: x for k, x in kwargs.items() if k not in static_names}
        leaves, in_tree = tree.flatten((traced, options))
        names = trace.paths_of(fun, traced, options)
        of = trace.name_of(fun)
        arrays = [trace.input_leaf(x, name, of) for x, name in zip(leaves, names, strict=True)]
        given = [x.uop for x in arrays]
        with trace.Parameters([trace.spec_of(x) for x in arrays], names, of, given) as params:
            stand_ins = [Array(p, x.weak_type) for p, x in zip(params, arrays, strict=True)]
            inputs, named = in_tree.unflatten(stand_ins)
            out = fun(*[args[i] if i in places else x for i, x in enumerate(inputs)],
                      **named, **fixed)  # fmt: skip
            results, out_tree = trace.output_leaves(out, of)
            done = _marked([x.uop for x in results], params, given)
        return out_tree.unflatten(
            [Array(u, x.weak_type) for u, x in zip(done, results, strict=True)]
        )

    return checkpointed


def _marked(roots: Sequence[UOp], params: Sequence[UOp], given: Sequence[UOp]) -> list[UOp]:
    """`roots` with `given` for `params`, as CHECKPOINTs where they are computed from them."""
    arguments, inside = set(params), set[UOp]()
    captured: dict[UOp, None] = {}
    for u in toposort(roots):
        if any(s in inside or s in arguments for s in u.src):
            inside.add(u)
            captured.update((s, None) for s in u.src if s not in inside and s.op not in _CONSTANT)
    back = dict(zip(params, given, strict=True))
    sources = dict.fromkeys(back.get(s, s) for s in (*params, *captured))
    done = substitute(roots, back)
    return [UOp(ops.CHECKPOINT, u.dtype, (u, *sources)) if r in inside and r.dtype.is_float else u
            for u, r in zip(done, roots, strict=True)]  # fmt: skip
