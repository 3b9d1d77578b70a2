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
from weakref import WeakKeyDictionary

from anneal import tree
from anneal.array import Array
from anneal.provenance import carry, note
from anneal.transforms import trace
from anneal.transforms.jit import marked_arguments, split_static, with_static
from anneal.uop import ops
from anneal.uop.uop import Graph, UOp, param_count, substitute, toposort

_CONSTANT = frozenset({ops.CONST, ops.ARANGE})
# How many PARAMs there had been when a CHECKPOINT was made: of later ones it knows nothing.
_made_at: WeakKeyDictionary[UOp, int] = WeakKeyDictionary()


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
        done = _marked(traced.graph, given)
        return traced.out_tree.unflatten(
            [Array(u, weak) for u, weak in zip(done, traced.out_weak, strict=True)]
        )

    return checkpointed


def _marked(graph: Graph, given: Sequence[UOp]) -> list[UOp]:
    """The outputs with `given` for the inputs, as CHECKPOINTs where they are computed from them."""
    params, roots = graph.inputs, graph.outputs
    inside = _inside(roots, params)
    captured = dict.fromkeys(
        s for u in inside for s in u.src if s not in inside and s.op not in _CONSTANT
    )
    back = dict(zip(params, given, strict=True))
    sources = dict.fromkeys(back.get(s, s) for s in (*params, *captured))
    outside = (*captured, *(r for r in roots if r not in inside))
    lines = graph.lines
    done = substitute(roots, {**{u: u for u in outside}, **back},
                      lambda old, new: note(new, lines.get(old, ())))  # fmt: skip
    now = param_count()
    for i, r in enumerate(roots):
        if r in inside and r.dtype.is_float:
            marked = UOp(ops.CHECKPOINT, r.dtype, (done[i], *sources))
            carry(done[i], marked)
            done[i] = marked
            _made_at.setdefault(marked, now)
    return done


def _inside(roots: Sequence[UOp], params: Sequence[UOp]) -> dict[UOp, None]:
    """The nodes that are computed again: those that depend on `params`, and with a call inside all
    that it computes from its sources, which else would be given to it in two ways."""
    first = min((p.arg[0] for p in params), default=0)
    found = dict.fromkeys(params)
    # What an earlier call returned was there before our PARAMs, and all layers so far lie below it.
    for u in toposort(roots, stop=lambda u: _made_at.get(u, first) < first):
        if any(s in found for s in u.src):
            found[u] = None
    for u in [u for u in found if u.op is ops.CHECKPOINT]:
        sources = set(u.src[1:])
        found.update((n, None) for n in toposort(u.src[:1], stop=sources.__contains__)
                     if n.src and n not in sources)  # fmt: skip
    for p in params:
        del found[p]
    return found
