"""Reverse mode: `gradient` turns a graph into the graph of its derivatives by rules/gradient.upat;
`grad`, `value_and_grad` and `vjp` are JAX's functions around it.

Source: https://docs.jax.dev/en/latest/_autosummary/jax.grad.html
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from anneal import errors, tree
from anneal.array import Array, asarray, realize
from anneal.numpy.axes import integers, is_integer
from anneal.provenance import (
    by_position,
    called_derivative,
    carry,
    derive,
    lines_of,
    note,
    recording,
    tell,
)
from anneal.realization import describe, places_of
from anneal.rules._gradient import RULES
from anneal.rules.gradient import in_accumulator, wider
from anneal.transforms import trace
from anneal.transforms.fold import fold
from anneal.uop import ops
from anneal.uop.call import (
    Body,
    Task,
    all_nodes,
    inlined,
    next_slot,
    results_read,
    run,
    sources_of,
)
from anneal.uop.dtypes import DType
from anneal.uop.uop import Graph, UOp, const, slot, substitute, toposort

# -- the graph level -------------------------------------------------------------------------------

# Rules whose cotangents mix g only with itself: for them g may be wider than the node.
_ANY_WIDTH = ops.MOVEMENT | {
    ops.ADD, ops.SUB, ops.NEG, ops.CAST, ops.CONTIGUOUS, ops.AFTER, ops.WHERE, ops.MAX, ops.MIN,
    ops.GATHER, ops.SCATTER, ops.ABS,
}  # fmt: skip


def gradient(
    outputs: Sequence[UOp], wrt: Sequence[UOp], cotangents: Sequence[UOp]
) -> list[UOp]:
    """The cotangents of `wrt`, given those of `outputs`: of the shapes and dtypes of `wrt`.

    Zeros where no path of floats leads. Raises NonDifferentiableError, naming op and line, for an
    op on the way that has no rule.
    """
    try:
        found = run(_reverse(outputs, wrt, cotangents))
    except _NoRuleError as e:
        places = places_of(e.node)
        at = f" at {places}" if places else ""
        raise errors.NonDifferentiableError(
            f"{e.node.op}{at} has no gradient rule; if no derivative should flow through it, wrap "
            "its argument in anneal.lax.stop_gradient"
        ) from None
    return [found[w].cast(w.dtype) if w in found else const(0, w.dtype).expand(w.shape)
            for w in wrt]  # fmt: skip


class _NoRuleError(Exception):
    def __init__(self, node: UOp) -> None:
        super().__init__(node)
        self.node = node


def _reverse(
    outputs: Sequence[UOp], wrt: Collection[UOp], cotangents: Sequence[UOp]
) -> Task[dict[UOp, UOp]]:
    """The cotangents of all nodes that a path of floats leads to.

    Forward and derivative calls, which read the same, are inlined first: cotangents of what lies
    within both are summed before they go on, and so go on once.
    """
    wrt = dict.fromkeys(wrt)
    order = toposort(outputs)
    if any(u.op is ops.CALL and u.arg[0].is_derivative for u in order):
        outputs = inlined(outputs, carry, keep=lambda u: bool(u.arg[1]))
        order = toposort(outputs)
    needed = _between(order, wrt)
    read = results_read(order)
    found: dict[UOp, UOp] = {}
    for out, g in zip(outputs, cotangents, strict=True):
        if out in needed:
            _accumulate(found, out, g, wrt)
    for u in reversed(order):
        if u.op is ops.CALL:
            gets = [g for g in read.get(u, ()) if g in found]
            slopes = yield _through(u, gets, [found[g] for g in gets], needed)
            for s, c in slopes:
                _accumulate(found, s, c, wrt)
            continue
        if u not in found or not u.src or u.op is ops.GET:
            continue
        wide = u.op in _ANY_WIDTH or (u.op is ops.REDUCE and u.arg[0] != "mul")
        g = found[u] if wide else found[u].cast(u.dtype)
        for s, c in zip(u.src, _cotangents(u, g), strict=False):
            if c is not None and s in needed:
                _accumulate(found, s, c, wrt)
    return found


def _between(order: Sequence[UOp], wrt: Collection[UOp]) -> set[UOp]:
    """The nodes of `order` that depend on `wrt` by a path of floats."""
    needed = set(wrt)
    for u in order:
        if u.op is not ops.STOP_GRADIENT and u.dtype.is_float:
            for s in u.src if u.op is not ops.GET else sources_of(u):
                if s in needed:
                    needed.add(u)
                    break
    return needed


# -- calls -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Derivative:
    """The derivative of a Body: from its operands and cotangents of some of its results those of
    the operands `of`; a call, whose lines are positions in `nodes`, the Body's."""

    graph: Graph
    of: tuple[int, ...]
    nodes: tuple[UOp, ...]


def _through(
    called: UOp, gets: Sequence[UOp], cotangents: Sequence[UOp], needed: set[UOp]
) -> Task[list[tuple[UOp, UOp]]]:
    """The operands of a CALL that are needed, with their cotangents, given those of `gets`: results
    of a call of its Body's derivative, which is made once."""
    body, recompute = called.arg
    reached = {s for g in gets for s in sources_of(g)}
    wanted = tuple([k for k, s in enumerate(called.src) if s in reached and s in needed])
    if not wanted:
        return []
    key = (tuple([g.arg for g in gets]), tuple([c.dtype for c in cotangents]), wanted, recompute)
    known = body.memo.get(key)
    if known is None:
        known = body.memo[key] = yield _derivative(body, *key)
    given = [c.broadcast_to(g.shape) for c, g in zip(cotangents, gets, strict=True)]
    slopes = called_derivative(known.graph, [*called.src, *given], known.nodes)
    return [(called.src[k], c) for k, c in zip(known.of, slopes, strict=True)]


def _derivative(
    body: Body, results: tuple[int, ...], dtypes: tuple[DType, ...], wanted: tuple[int, ...],
    recompute: bool,
) -> Task[_Derivative]:  # fmt: skip
    outputs = [body.outputs[i] for i in results]
    free = next_slot(body)
    given = [slot(free + j, dtype, u.shape)
             for j, (dtype, u) in enumerate(zip(dtypes, outputs, strict=True))]  # fmt: skip
    inputs = {p: p for p in body.inputs}
    nodes = tuple(all_nodes(Graph(body.inputs, body.outputs)))
    with recording(alone=True):
        by_position(nodes)
        if recompute:  # what it is computed from is not there before the cotangents are
            inputs = {p: UOp(ops.AFTER, p.dtype, (p, *given)) for p in inputs if p.op is ops.PARAM}
            outputs = substitute(outputs, inputs, lambda old, new: derive(new, old, "recomputed"))
        wrt = [inputs[body.inputs[k]] for k in wanted]
        try:
            found = yield from _reverse(outputs, wrt, given)
        except _NoRuleError as e:
            raise _NoRuleError(next((nodes[o.line] for o in lines_of(e.node)), e.node)) from None
        of = [k for k, w in zip(wanted, wrt, strict=True) if w in found]
        slopes = tuple([found[w] for w in wrt if w in found])
        lines = tell(toposort(slopes))
    graph, _ = fold(Graph((*body.inputs, *given), slopes, lines))  # bodies capture nothing
    for u in graph.nodes():
        if u.op is ops.CALL:
            u.arg[0].is_derivative = True
    return _Derivative(graph, tuple(of), nodes)


def _cotangents(u: UOp, g: UOp) -> tuple[UOp | None, ...]:
    """The cotangents of the sources of `u`, with provenance."""
    matcher = RULES.match.get(u.op)
    hit = matcher(u, g) if matcher is not None else None
    if hit is None:
        raise _NoRuleError(u)
    cotangents, number = hit
    for c in cotangents:
        if c is not None:
            derive(c, u, "backward", RULES.rules[number].name)
    return cotangents


def _accumulate(found: dict[UOp, UOp], u: UOp, g: UOp, wrt: Collection[UOp]) -> None:
    """Adds `g` to the cotangent of `u`; the wider dtype wins until the end.

    What was repeated is summed first and added then: small things are added, and each sum of
    products stays a contraction.
    """
    while u.op is ops.EXPAND and u not in wrt:
        summed = _cotangents(u, g)[0]
        assert summed is not None
        u, g = u.src[0], summed
    if not u.shape and g.shape:
        g = in_accumulator(g).sum(range(g.ndim))
    old = found.get(u)
    if old is not None:
        dtype = wider(old.dtype, g.dtype)
        added, g = g, old.cast(dtype) + g.cast(dtype)
        derive(g, u, "backward")
        if not lines_of(g):  # no line made `u`, an argument
            note(g, lines_of(added) or lines_of(old))
    else:
        derive(g, u, "backward")
    found[u] = g


# -- JAX's functions -------------------------------------------------------------------------------


_NAMES = ("__module__", "__name__", "__qualname__", "__doc__")


def value_and_grad(
    fun: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that gives `fun`'s value and its gradient with respect to argument `argnums`.

    `fun` returns a float scalar, or with `has_aux` a pair of it and anything else. The gradient has
    the structure of the argument, a tuple of such for several `argnums`. Raises TypeError for
    arguments that are not floats and for a value that is no scalar.

    >>> import anneal
    >>> value, slope = anneal.value_and_grad(lambda x: x * x)(3.0)
    >>> float(value), float(slope)
    (9.0, 6.0)
    """
    _check_callable(fun, "value_and_grad")
    numbers = integers("value_and_grad", "argnums", argnums)

    @functools.wraps(fun, _NAMES, ())
    def value_and_gradient(*args: Any, **kwargs: Any) -> Any:
        places = _places(fun, numbers, len(args))
        leaves, in_tree, names = _differentiated(fun, args, places)
        primals = [x.uop for x in leaves]
        specs = [trace.spec_of(x) for x in leaves]
        of = trace.name_of(fun)
        with trace.Parameters(specs, names, of, primals) as params:
            inputs = in_tree.unflatten(
                [Array(p, x.weak_type) for p, x in zip(params, leaves, strict=True)]
            )
            given = list(args)
            for place, x in zip(places, inputs, strict=True):
                given[place] = x
            out = fun(*given, **kwargs)
            value, aux = _value_and_aux(out, has_aux, of)
            aux_leaves, aux_tree = tree.flatten(aux)
            traced = [value, *[x for x in aux_leaves if isinstance(x, Array)]]
            roots = [x.uop for x in traced]
            seed = const(1, value.dtype)
            grads = gradient(roots[:1], params, [seed])
            done = substitute([*roots, *grads], dict(zip(params, primals, strict=True)), carry)
        weak = [x.weak_type for x in (*traced, *leaves)]
        arrays = [Array(u, w) for u, w in zip(done, weak, strict=True)]
        realize([a for a in arrays if not a.uop.traced])
        slopes = in_tree.unflatten(arrays[len(roots) :])
        result = slopes[0] if is_integer(argnums) else tuple(slopes)
        if not has_aux:
            return arrays[0], result
        rest = iter(arrays[1 : len(roots)])
        aux = aux_tree.unflatten([next(rest) if isinstance(x, Array) else x for x in aux_leaves])
        return (arrays[0], aux), result

    return value_and_gradient


def grad(
    fun: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that gives the gradient of `fun`; with `has_aux` a pair of it and what else `fun`
    returned. As `value_and_grad` otherwise.

    >>> import anneal
    >>> float(anneal.grad(anneal.grad(lambda x: x**3))(2.0))
    12.0
    """
    _check_callable(fun, "grad")
    both = value_and_grad(fun, argnums, has_aux)

    @functools.wraps(fun, _NAMES, ())
    def gradient_of(*args: Any, **kwargs: Any) -> Any:
        value, slope = both(*args, **kwargs)
        return (slope, value[1]) if has_aux else slope

    return gradient_of


def vjp(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """`fun(*primals)`, and the function from a cotangent of that to the cotangents of `primals`.

    Returns `(out, vjp_fun)`, with `has_aux` `(out, vjp_fun, aux)`. The cotangent has `out`'s
    structure, shapes and dtypes; the result is a tuple with one entry for each primal.

    >>> import anneal
    >>> out, pullback = anneal.vjp(lambda x, y: x * y, 2.0, 5.0)
    >>> [float(g) for g in pullback(1.0)]
    [5.0, 2.0]
    """
    _check_callable(fun, "vjp")
    places = list(range(len(primals)))
    leaves, in_tree, names = _differentiated(fun, primals, places)
    of = trace.name_of(fun)
    known = [x.uop for x in leaves]
    specs = [trace.spec_of(x) for x in leaves]
    with trace.Parameters(specs, names, of, known) as params:
        inputs = [Array(p, x.weak_type) for p, x in zip(params, leaves, strict=True)]
        out = fun(*in_tree.unflatten(inputs))
        if has_aux:
            out, aux = _pair(out, of)
            aux_leaves, aux_tree = trace.output_leaves(aux, of)
        else:
            aux_leaves, aux_tree = trace.output_leaves((), of)
        out_leaves, out_tree = trace.output_leaves(out, of)
        roots = [x.uop for x in out_leaves]
        back = dict(zip(params, known, strict=True))
        done = substitute([*roots, *[x.uop for x in aux_leaves]], back, carry)
    values = [Array(u, x.weak_type) for u, x in zip(done, (*out_leaves, *aux_leaves), strict=True)]

    def pullback(cotangent: Any) -> Any:
        given, given_tree = tree.flatten(cotangent)
        if given_tree != out_tree:
            raise errors.TreeError(
                f"the cotangent's structure must be that of the output of {of}: expected "
                f"{out_tree}, got {given_tree}"
            )
        cotangents = [_cotangent(g, x) for g, x in zip(given, out_leaves, strict=True)]
        slopes = substitute(gradient(roots, params, cotangents), back, carry)
        return tuple(in_tree.unflatten(
            [Array(u, x.weak_type) for u, x in zip(slopes, leaves, strict=True)]
        ))  # fmt: skip

    result = out_tree.unflatten(values[: len(roots)])
    if has_aux:
        return result, pullback, aux_tree.unflatten(values[len(roots) :])
    return result, pullback


# -- checks ----------------------------------------------------------------------------------------


def _check_callable(fun: Any, name: str) -> None:
    if not callable(fun):
        raise TypeError(f"{name} expects a function, got {type(fun).__name__}: {fun!r}")


def _places(fun: Callable[..., Any], numbers: tuple[int, ...], count: int) -> list[int]:
    """The positions that `argnums` means, counted from the left."""
    for n in numbers:
        if not -count <= n < count:
            raise ValueError(
                f"argnums {n} of {trace.name_of(fun)} needs at least {n + 1 if n >= 0 else -n} "
                f"positional arguments, got {count}"
            )
    return [n % count for n in numbers]


def _differentiated(
    fun: Callable[..., Any], args: Sequence[Any], places: Sequence[int]
) -> tuple[list[Array], tree.PyTreeDef, list[str]]:
    """The leaves of the arguments at `places`, the structure of the list of them, and names."""
    names = trace.argument_names(fun, len(args))
    given, in_tree = tree.flatten([args[i] for i in places])
    paths = [names[place] + tree.keystr(path)
             for place in places for path, _ in tree.leaves_with_path(args[place])]  # fmt: skip
    of = trace.name_of(fun)
    leaves = [trace.input_leaf(x, path, of) for x, path in zip(given, paths, strict=True)]
    for x, path in zip(leaves, paths, strict=True):
        if not x.dtype.is_float:
            raise TypeError(
                f"cannot differentiate {of} with respect to {path}: it is {describe(x)}, and only "
                "floats have gradients; convert it, e.g. with .astype('float32') or 3.0 for 3, or "
                "leave it out of argnums"
            )
    return leaves, in_tree, paths


def _pair(out: Any, of: str) -> tuple[Any, Any]:
    if not isinstance(out, tuple | list) or len(out) != 2:
        raise TypeError(
            f"with has_aux=True {of} must return a pair (value, aux), got {type(out).__name__}"
        )
    return out[0], out[1]


def _value_and_aux(out: Any, has_aux: bool, of: str) -> tuple[Array, Any]:
    value, aux = _pair(out, of) if has_aux else (out, None)
    if isinstance(value, tuple | list | dict) or value is None:
        hint = "; if it is (loss, aux), pass has_aux=True" if isinstance(value, tuple) else ""
        raise TypeError(
            f"the gradient is of a function with one scalar value, but {of} returned "
            f"{'None' if value is None else f'a {type(value).__name__}'}{hint}"
        )
    value = value if isinstance(value, Array) else trace.output_leaves(value, of)[0][0]
    if value.shape != ():
        raise TypeError(
            f"the gradient is of a scalar value, but {of} returned {describe(value)}: reduce it to "
            "a scalar, e.g. with .sum() or .mean(), or use anneal.vjp"
        )
    if not value.dtype.is_float:
        raise TypeError(
            f"the gradient is of a float value, but {of} returned {describe(value)}: compute it in "
            "floats"
        )
    return value, aux


def _cotangent(g: Any, out: Array) -> UOp:
    given = asarray(g)
    if given.shape != out.shape:
        raise ValueError(
            f"a cotangent must have the output's shape: expected {describe(out)}, got "
            f"{describe(given)}"
        )
    if given.dtype is not out.dtype and not given.weak_type:
        raise TypeError(
            f"a cotangent must have the output's dtype: expected {describe(out)}, got "
            f"{describe(given)}"
        )
    return given.uop.cast(out.dtype)
