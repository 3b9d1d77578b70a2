"""What is legal at each stage: one entry an op, checked node by node.

In: roots and a stage. Out: nothing, or a SpecError that names the node and what it should be.
"tensor" is what tracing and the transforms make; "kernel" what the scheduler makes of it. Shapes of
tensor nodes are checked when they are built; here it is sources, dtypes and args.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from anneal.uop import dtypes, ops
from anneal.uop.call import Body, within
from anneal.uop.ops import Op
from anneal.uop.uop import UOp, same_dim, toposort

Stage = Literal["tensor", "kernel"]
# A check returns what is expected, or None if the node is right.
Check = Callable[[UOp], str | None]


class SpecError(ValueError):
    """A node that its stage does not allow."""


def verify(roots: Iterable[UOp], stage: Stage) -> None:
    """Raises SpecError for the first node under `roots`, or in what they call, that `stage` does
    not allow.

    >>> from anneal.uop.uop import const
    >>> verify([const(1, dtypes.float32) + 2], "tensor")
    """
    roots = list(roots)
    nodes = toposort(roots)
    check_nodes([*nodes, *within(nodes)], SPECS[stage], stage)
    if any(u.op is ops.CALL for u in roots):
        raise SpecError("a CALL is no value: a GET of it is")


def check_nodes(nodes: Iterable[UOp], table: Mapping[Op, Check], stage: str) -> None:
    """Raises SpecError for the first of `nodes` that `table` does not allow."""
    for u in nodes:
        check = table.get(u.op)
        if check is None:
            raise SpecError(f"{u.op} may not appear at the {stage} stage, in\n{u}")
        if any(type(d) is not int and not isinstance(d, UOp) for d in u.shape):
            expected: str | None = f"dims that are Python ints, in the shape {u.shape!r}"
        elif u.op is not ops.GET and any(s.op is ops.CALL for s in u.src):
            expected = "no CALL among the sources: only a GET reads one"
        elif u.op.arity >= 0 and len(u.src) != u.op.arity:
            expected = f"{u.op.arity} sources"
        else:
            expected = check(u)
        if expected is not None:
            got = ", ".join(f"{s.op}: {s.dtype}" for s in u.src)
            raise SpecError(f"{u.op} of {u.dtype}, arg {u.arg!r}: expected {expected}, got sources "
                            f"({got}), in\n{u}")  # fmt: skip


def _fine(u: UOp) -> str | None:
    return None


def _all_of(*kinds: str) -> Check:
    """Sources and result of one dtype, of a kind in `kinds`."""

    def check(u: UOp) -> str | None:
        if any(s.dtype is not u.dtype for s in u.src):
            return "sources of the result's dtype"
        return None if u.dtype.kind in kinds else f"a dtype of kind {' or '.join(kinds)}"

    return check


def _compare(u: UOp) -> str | None:
    if u.dtype is not dtypes.bool_:
        return "a bool result"
    return None if u.src[0].dtype is u.src[1].dtype else "two sources of one dtype"


def _where(u: UOp) -> str | None:
    p, x, y = u.src
    if p.dtype is not dtypes.bool_:
        return "a bool condition"
    return None if x.dtype is u.dtype and y.dtype is u.dtype else "branches of the result's dtype"


def _bitcast(u: UOp) -> str | None:
    return None if u.src[0].dtype.itemsize == u.dtype.itemsize else "a source of equal width"


def _const(u: UOp) -> str | None:
    kind = {"b": bool, "f": float}.get(u.dtype.kind, int)
    return None if type(u.arg) is kind and u.shape == () else f"a Python {kind.__name__}"


def _integer(u: UOp) -> str | None:
    return None if u.dtype.is_int or u.dtype.is_float else "a number's dtype"


def _movement(u: UOp) -> str | None:
    if u.src[0].dtype is not u.dtype:
        return "a source of the result's dtype"
    ok = all(s.dtype is dtypes.index for s in u.src[1:])
    return None if ok else "dims of dtype index"


def _identity(u: UOp) -> str | None:
    return None if u.src[0].dtype is u.dtype else "a source of the result's dtype"


def _leaf(u: UOp) -> str | None:
    return None if all(s.dtype is dtypes.index for s in u.src) else "dims of dtype index"


def _reduce(u: UOp) -> str | None:
    how, axes = u.arg
    if how not in ("add", "mul", "max", "min"):
        return "a reduction by add, mul, max or min"
    if u.src[0].dtype is not u.dtype or len(u.src) != 1:
        return "one source of the result's dtype"
    return None if axes else "at least one axis"


def _gather(u: UOp) -> str | None:
    x, idx = u.src
    return None if x.dtype is u.dtype and idx.dtype.is_int else "(data, integer indices)"


def _scatter(u: UOp) -> str | None:
    idx, *data = u.src
    ok = len(data) in (1, 2) and all(x.dtype is u.dtype for x in data) and idx.dtype.is_int
    ok = ok and u.arg[0] in ("add", "mul", "max", "min")
    return None if ok else "(integer indices, data), perhaps what there was before"


def _call(u: UOp) -> str | None:
    body = u.arg[0]
    if not isinstance(body, Body) or type(u.arg[1]) is not bool or u.dtype is not dtypes.void:
        return "dtype void, and as arg a Body and whether derivatives compute it again"
    given = set(body.inputs)
    for n in body.nodes:
        if n.op is ops.BUFFER or n.op in (ops.PARAM, ops.VAR) and n not in given:
            return f"a closed body, without a {n.op} that is no input of it"
    if len(u.src) != len(body.inputs):
        return f"{len(body.inputs)} operands"
    for i, (s, p) in enumerate(zip(u.src, body.inputs, strict=True)):
        shape = body.at(p.shape, u.src)
        same = len(s.shape) == len(shape) and all(map(same_dim, s.shape, shape))
        if s.dtype is not p.dtype or not same:
            return f"operand {i} of dtype {p.dtype} and shape {shape}"
    return None


def _get(u: UOp) -> str | None:
    (made,) = u.src
    if made.op is not ops.CALL or not 0 <= u.arg < len(made.arg[0].outputs):
        return "a CALL with that many results"
    return None if made.arg[0].outputs[u.arg].dtype is u.dtype else "the dtype of that result"


def _ranges(u: UOp) -> bool:
    return len(u.src) > 1 and all(s.op is ops.RANGE for s in u.src[1:])


def _kernel_reduce(u: UOp) -> str | None:
    return None if _ranges(u) and u.src[0].dtype is u.dtype else "(value, RANGE, ...)"


def _for(u: UOp) -> str | None:
    return None if _ranges(u) and u.src[0].op is ops.STORE else "(STORE, RANGE, ...)"


def _range(u: UOp) -> str | None:
    ok = u.dtype is dtypes.index and u.arg[1] in ("grid", "loop")
    return None if ok else "dtype index and kind grid or loop"


def _memory(u: UOp) -> bool:
    at = u.src[1].dtype if len(u.src) > 1 else None
    return u.src[0].op in ops.MEMORY and at is dtypes.index


def _load(u: UOp) -> str | None:
    if not _memory(u) or u.src[0].dtype is not u.dtype:
        return "(memory, index)"
    ok = all(s.op in (ops.FOR, ops.RANGE) for s in u.src[2:])
    return None if ok else "FORs and RANGEs after the index"


def _store(u: UOp) -> str | None:
    ok = _memory(u) and u.src[2].dtype is u.dtype and u.src[0].dtype is u.dtype
    ok = ok and len(u.src) in (3, 4) and all(s.dtype is dtypes.bool_ for s in u.src[3:])
    return None if ok else "(memory, index, value), perhaps a condition"


EVERYWHERE: dict[Op, Check] = {
    ops.CONST: _const, ops.VAR: _leaf, ops.CAST: _fine, ops.BITCAST: _bitcast, ops.WHERE: _where,
    ops.NOT: _all_of("b", "i", "u"),
    **dict.fromkeys((ops.NEG, ops.ABS, ops.SUB), _all_of("i", "u", "f")),
    **dict.fromkeys((ops.ADD, ops.MUL, ops.MAX, ops.MIN), _all_of("b", "i", "u", "f")),
    **dict.fromkeys((*ops.TRANSCENDENTAL, ops.SQRT, ops.FLOOR, ops.ROUND, ops.DIV), _all_of("f")),
    **dict.fromkeys((ops.FLOORDIV, ops.SHL, ops.SHR), _all_of("i", "u")),
    ops.MOD: _all_of("i", "u", "f"),
    **dict.fromkeys((ops.AND, ops.OR, ops.XOR), _all_of("b", "i", "u")),
    **dict.fromkeys((ops.LT, ops.EQ, ops.NE), _compare),
}  # fmt: skip

SPECS: dict[Stage, dict[Op, Check]] = {
    "tensor": {
        **EVERYWHERE, ops.PARAM: _leaf, ops.BUFFER: _leaf, ops.ARANGE: _integer,
        **dict.fromkeys(ops.MOVEMENT, _movement), ops.REDUCE: _reduce, ops.GATHER: _gather,
        ops.SCATTER: _scatter, **dict.fromkeys(ops.IDENTITY, _identity),
        ops.CALL: _call, ops.GET: _get,
    },
    "kernel": {
        **EVERYWHERE, ops.RANGE: _range, **dict.fromkeys(ops.MEMORY, _fine), ops.LOAD: _load,
        ops.STORE: _store, ops.FOR: _for,
        ops.REDUCE: _kernel_reduce,
    },
}  # fmt: skip
