"""Execution of graphs: from lazy UOps to BUFFERs, and back to host data.

In: UOps whose value someone reads. Out: BUFFER nodes that hold it, on `anneal.device`. Here are
also the errors for values that are not there yet (inside `jit`), or no longer (leaked, donated).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakValueDictionary

from anneal import errors, provenance
from anneal.memo import Memo
from anneal.provenance import argument, lines_of, user_origin
from anneal.uop import dtypes, ops
from anneal.uop.call import sources_of
from anneal.uop.dtypes import DType
from anneal.uop.uop import (
    Graph,
    Origin,
    Origins,
    Shape,
    UOp,
    arange,
    buffer,
    param,
    rebuild,
    substitute,
    toposort,
)

if TYPE_CHECKING:
    import numpy as np


class _Described(Protocol):
    """An Array or a UOp."""

    @property
    def dtype(self) -> DType: ...

    @property
    def shape(self) -> Shape: ...


def describe(x: _Described) -> str:
    """Dtype and shape as in JAX: "float32[3,4]"."""
    from anneal.uop.show import dim_text

    return f"{x.dtype.name}[{','.join(dim_text(d) for d in x.shape)}]"


class HostBuffer:
    """Data that the user gave, on the host until the first graph that reads it runs."""

    __slots__ = ("__weakref__", "data", "dtype", "shared", "size", "spent", "uploaded")

    def __init__(self, data: np.ndarray[Any, Any], dtype: DType) -> None:
        data.flags.writeable = False
        self.data = data
        self.dtype = dtype
        self.size = data.size
        self.spent: Sequence[Any] = ()
        self.shared = False
        self.uploaded: Any = None

    def __repr__(self) -> str:
        return f"HostBuffer({self.dtype}, {self.size})"


class _Deleted:
    """What an Array holds whose memory was donated."""

    __slots__ = ("shared", "spent")

    def __init__(self) -> None:
        self.spent, self.shared = (None,), True


DELETED = _Deleted()

# Arrays whose value is not computed yet, by their node: what someone holds is computed once, with
# whatever needs it first, so that a loop's graph begins where the last one ended.
pending: WeakValueDictionary[UOp, Any] = WeakValueDictionary()


def computed(u: UOp, error: type[errors.ConcretizationTypeError], what: str) -> UOp:
    """The BUFFER that holds the value of `u`; `error` where an argument's value is not known."""
    if u.op is ops.BUFFER:
        return u
    if u.op is ops.CONST:  # which stays one in every graph, read or not
        return scalar_buffer(u)
    if u.value is None or u.op is ops.PARAM:
        known = _bound(u, error, what) if u.traced else u
        if known.op is ops.BUFFER or known.op is ops.CONST:
            return computed(known, error, what)
        if known.value is None:
            execute([known])
        if u.op is ops.PARAM:
            assert known.value is not None
            return known.value
        u.value = known.value
    assert u.value is not None
    return u.value


def _bound(u: UOp, error: type[errors.ConcretizationTypeError], what: str) -> UOp:
    """`u` with every PARAM replaced by the argument that it stands for."""
    top = u
    while u.traced:
        nodes = toposort([u], stop=lambda n: n.value is not None)
        values = {n: n.value for n in nodes if n.value is not None and n.traced}
        missing = [n for n in nodes if n.op is ops.PARAM and n.value is None]
        if missing:
            raise _unknown(top, missing, error, what)
        u = substitute([u], values, provenance.carry)[0]
    return u


def execute(roots: Sequence[UOp]) -> None:
    """Runs the graph of `roots` (distinct, untraced) and sets their `value`, and that of what is
    held on the way."""
    leaf = (ops.BUFFER, ops.CONST)
    roots = [u for u in roots if u.value is None and u.op not in leaf]
    if not roots:
        return
    from anneal import device

    roots = list(dict.fromkeys([*roots, *pending_below(roots)]))
    graph, leaves = close_over(roots)
    graph = provenance.without_calls(graph)  # whose constants may be a loop's, too
    graph, scalars = _with_scalars_as_inputs(graph)
    run = device.compile(graph, frozenset())
    storages = run(device_storages(leaves) + [device.upload(v) for v in scalars])
    for u, storage in zip(roots, storages, strict=True):
        storage.shared = True  # with every Array of this node: interning makes them one
        u.value = buffer(storage, u.dtype, u.shape)


# A pending value is computed on the way to another if it is not larger than the data that it is
# computed from, or than this many bytes: who wrote `ones((n, n)).sum()` wants no n * n elements.
_SMALL_BYTES = 1 << 20


def pending_below(roots: Sequence[UOp]) -> list[UOp]:
    """Untraced nodes under `roots` that an Array holds, and whose value is more than other names
    for elements that exist."""
    nodes = toposort(roots, stop=_is_held)
    if not any(u in pending for u in nodes):
        return []
    from anneal import device

    holds = device.current().holds
    most = sum(_nbytes(u) for u in nodes if u.op is ops.BUFFER or _is_held(u))
    return [u for u in nodes
            if u in pending and not u.traced and not _is_held(u) and not _renames(u)
            and holds(u.dtype) and _nbytes(u) <= max(most, _SMALL_BYTES)]  # fmt: skip


def _nbytes(u: UOp) -> int:
    return math.prod([d for d in u.shape if isinstance(d, int)]) * u.dtype.itemsize


def _renames(u: UOp) -> bool:
    while u.op in ops.MOVEMENT and not _is_held(u):
        u = u.src[0]
    return not u.src or _is_held(u)


# -- Python's scalars ------------------------------------------------------------------------------

# What rules ask for by value, and what is everywhere: these stay constants of a program.
_CONSTANT = frozenset({0, 1, -1, 2, 0.5})
_FLOAT_OPS = frozenset({ops.ADD, ops.SUB, ops.MUL, ops.DIV, ops.POW, ops.MAX, ops.MIN, ops.WHERE,
                        ops.LT, ops.EQ, ops.NE})  # fmt: skip
# Shifts and masks by a constant are an algorithm's, not a loop's.
_INT_OPS = frozenset({ops.ADD, ops.SUB, ops.MUL, ops.MAX, ops.MIN, ops.WHERE})
# Data in another arrangement, of which a part is a part of the data.
_SAME_ELEMENTS = frozenset({ops.RESHAPE, ops.PERMUTE, ops.SHRINK})


def _with_scalars_as_inputs(graph: Graph) -> tuple[Graph, list[np.ndarray[Any, Any]]]:
    """`graph` with the constants that make values, and the places where parts of data begin, as
    elements of further inputs, and these: so a loop whose scalars change is one program."""
    import numpy as np

    nodes = graph.nodes()
    indices = {n for n in toposort([i for u in nodes for i in _indices(u)])}
    positions: set[UOp] = set()
    scalars: dict[UOp, list[UOp]] = {}
    # By what they are for: each begin is one of its own, whichever others are equal to it.
    found: dict[DType, dict[Any, int | float]] = {dtypes.float32: {}, dtypes.int32: {}}
    for u in nodes:
        if u.op is ops.ARANGE or (not u.traced and any(s in positions for s in u.src)):
            positions.add(u)
        if u in indices:
            continue
        for axis, begin in _begins(u):
            found[dtypes.int32][u, axis] = begin
        scalars[u] = _scalars_of(u, u in positions)
        for s in scalars[u]:
            found[dtypes.float32 if s.dtype.is_float else dtypes.int32][s] = s.arg
    inputs: list[UOp] = []
    element: dict[Any, UOp] = {}
    data: list[np.ndarray[Any, Any]] = []
    for dtype, values in found.items():
        if values:
            p = param(dtype, (len(values),))
            inputs.append(p)
            element.update({of: p.shrink([(i, i + 1)]).reshape(())
                            for i, of in enumerate(values)})  # fmt: skip
            wide = np.float64 if dtype.is_float else np.int64
            data.append(np.array([*values.values()], wide).astype(dtype.name))
    if not inputs:
        return graph, []
    done: dict[UOp, UOp] = {}
    lines = provenance.Table[Origin]()
    for u in nodes:
        lifted = scalars.get(u, ())
        src = tuple([element[s].cast(s.dtype) if s in lifted else done[s] for s in u.src])
        begins = {i: element[u, i] for i in range(u.ndim) if (u, i) in element}
        done[u] = _part(src[0], u.shape, begins) if begins else rebuild(u, src)
        lines.add(done[u], graph.lines.get(u, ()))
    outputs = tuple([done[u] for u in graph.outputs])
    return Graph((*graph.inputs, *inputs), outputs, lines.whole()), data


def _indices(u: UOp) -> tuple[UOp, ...]:
    """The sources of `u` that say where, not what."""
    if u.op is ops.GATHER:
        return u.src[1:2]
    return u.src[:1] if u.op is ops.SCATTER else u.src[1:] if u.op in ops.MOVEMENT else ()


def _scalars_of(u: UOp, positions: bool) -> list[UOp]:
    """Constants among the sources of `u` that are no part of what it is. `positions`: it is
    computed from nothing but these and where an element is."""
    if u.op in ops.MOVEMENT:  # a constant in every place
        return [s for s in u.src[:1] if s.op is ops.CONST and _changes(s)]
    if u.op not in _FLOAT_OPS:
        return []
    return [s for s in u.src if s.op is ops.CONST and _is_scalar(u, s)
            and (s.dtype.is_float or not positions)]  # fmt: skip


def _is_scalar(u: UOp, s: UOp) -> bool:
    if not _changes(s):
        return False
    if not s.dtype.is_float:
        return u.op in _INT_OPS
    return u.op is not ops.POW or not float(2 * s.arg).is_integer()


def _changes(s: UOp) -> bool:
    """Whether a constant may be another one in a loop's next step."""
    return (s.dtype.kind != "b" and s.dtype.bits <= 32 and s.arg not in _CONSTANT
            and math.isfinite(s.arg))  # fmt: skip


def _begins(u: UOp) -> list[tuple[int, int]]:
    """Where `u` begins, if it is a part of data, x[i] or x[i:j], which may begin elsewhere in the
    next step; by axis, but for those that it has whole."""
    if u.op is not ops.SHRINK or len(u.src) > 1 or 0 in u.shape:
        return []
    x, shape = u.src[0], u.src[0].shape
    while x.op in _SAME_ELEMENTS:
        x = x.src[0]
    if x.op is not ops.PARAM or any(not isinstance(d, int) or d > dtypes.int32.max for d in shape):
        return []
    begins = enumerate(zip(u.arg[::2], u.shape, shape, strict=True))
    return [(axis, lo) for axis, (lo, n, whole) in begins if n != whole]


def _part(x: UOp, shape: Shape, begins: Mapping[int, UOp]) -> UOp:
    """The part of `x` that has `shape` and begins there."""
    for axis, begin in begins.items():
        n = shape[axis]
        places = arange(n, dtypes.int32) + begin
        alone = tuple([n if i == axis else 1 for i in range(x.ndim)])
        all_of = tuple([n if i == axis else d for i, d in enumerate(x.shape)])
        x = x.gather(places.reshape(alone).expand(all_of), axis)
    return x


# Recent scalars on the device: learning rates, step counts, seeds.
_scalars: Memo[UOp, UOp] = Memo(256)


def scalar_buffer(u: UOp) -> UOp:
    """A BUFFER that holds a CONST."""
    return _scalars.get(u, lambda: _new_scalar(u))


def _new_scalar(u: UOp) -> UOp:
    import numpy as np

    host = HostBuffer(np.array(u.arg, numpy_dtype(u.dtype)), u.dtype)
    host.shared = True
    return buffer(host, u.dtype, ())


def numpy_dtype(dtype: DType) -> np.dtype[Any]:
    """NumPy's dtype for ours; ml_dtypes' for bfloat16."""
    import numpy as np

    if dtype is dtypes.bfloat16:
        import ml_dtypes

        half: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return half
    return np.dtype(dtype.name)


def _is_held(u: UOp) -> bool:
    return u.value is not None and not u.traced


def close_over(
    roots: Sequence[UOp], inputs: Sequence[UOp] = (), lines: Mapping[UOp, Origins] | None = None
) -> tuple[Graph, list[UOp]]:
    """The graph of `roots` as a function of data: after `inputs` come fresh PARAMs in the place of
    the BUFFERs, which are returned in that order. Untraced nodes that hold their value count as it.
    `lines`: what made the nodes, if they are a closed graph's.
    """
    mapping: dict[UOp, UOp] = {}
    leaves: dict[UOp, UOp] = {}
    order = toposort(roots, stop=_is_held)
    for u in order:
        held = u if u.op is ops.BUFFER else None if u.traced else u.value
        if held is not None:
            if held not in leaves:
                leaves[held] = param(held.dtype, held.shape)
            mapping[u] = leaves[held]
    old_lines = provenance.tell(order) if lines is None else lines
    if not mapping:
        return Graph(tuple(inputs), tuple(roots), old_lines), []
    outputs, new_lines = provenance.substituted(roots, mapping, old_lines)
    return Graph((*inputs, *leaves.values()), tuple(outputs), new_lines), list(leaves)


def device_storages(leaves: Sequence[UOp]) -> list[Any]:
    """The storages of BUFFER nodes, uploaded where they were still on the host."""
    return [device_storage(u) for u in leaves]


def device_storage(u: UOp) -> Any:
    """The device's storage of a BUFFER node. DeletedArrayError if it was donated."""
    storage = u.arg[0]
    if storage.spent:
        raise errors.DeletedArrayError(
            f"an array {describe(u)} was used after its memory was donated to a jitted function "
            "(donate_argnums): use that function's result instead, or do not donate it"
        )
    if not isinstance(storage, HostBuffer):
        return storage
    if storage.uploaded is None or storage.uploaded.spent:
        from anneal import device

        storage.uploaded = device.upload(storage.data)
    return storage.uploaded


def read(u: UOp, shape: Shape) -> np.ndarray[Any, Any]:
    """The data of a BUFFER node as a NumPy array of `shape`, read-only: it may be the memory that
    holds them."""
    storage = u.arg[0]
    if isinstance(storage, HostBuffer) and not storage.spent:
        return storage.data.view()
    from anneal import device

    data = device.read(device_storage(u)).reshape([d for d in shape if isinstance(d, int)])
    data.flags.writeable = False
    return data


# -- values that are not there ---------------------------------------------------------------------


def is_known(u: UOp) -> bool:
    """Whether the value of `u` could be read now: it depends on no argument without a value."""
    todo, seen = [u], set[UOp]()
    while todo:
        for n in toposort([todo.pop()], stop=lambda n: n.value is not None or n in seen):
            if n in seen:
                continue
            seen.add(n)
            if n.value is not None and n.value.traced:
                todo.append(n.value)
            elif n.op is ops.PARAM and n.value is None:
                return False
    return True


def keep_derivative(
    u: UOp, error: type[errors.ConcretizationTypeError], what: str
) -> None:
    """Raises `error` where a derivative flows through `u`: data that leave the graph are constants
    to it, and what is computed from them would be missing from a gradient without a word."""
    if not (u.traced and u.dtype.is_float and is_known(u)):
        return
    carries: dict[UOp, bool] = {}
    for n in toposort([u]):
        carries[n] = n.dtype.is_float and n.op is not ops.STOP_GRADIENT and (
            n.op is ops.PARAM
            or any(carries[s] for s in (n.src if n.op is not ops.GET else sources_of(n)))
        )
    if not carries[u]:
        return
    here = user_origin()
    at = f" at {here.file}:{here.line}" if here is not None else ""
    raise error(
        f"a value {describe(u)} was {what}{at} while a derivative is taken: what is computed from "
        "it there would be missing from the gradient. Use the anneal.numpy function of the same "
        "name instead; a constant is anneal.lax.stop_gradient(x), or x.item() for one element."
    )


def _unknown(
    u: UOp, params: Sequence[UOp], error: type[errors.ConcretizationTypeError], what: str
) -> Exception:
    """The error for reading `u`, which depends on `params`, whose values are not known."""
    leaked = [p for p in params if (known := argument(p)) is None or known.ended]
    if leaked:
        return errors.UnexpectedTracerError(leak_message(u, leaked))
    names = [known.name for p in params if (known := argument(p)) is not None]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    places = places_of(u)
    made = f" made at {places}" if places else ""
    here = user_origin()
    at = f" at {here.file}:{here.line}" if here is not None else ""
    return error(
        f"a value {describe(u)}{made} was {what}{at} while `jit` traces the function: it depends "
        f"on {shown}, known there only by shape and dtype. {_FIXES.get(error, _FIX)}"
    )


_FIX = "Move this out of the jitted function, or mark the argument static with static_argnums."
_FIXES = {
    errors.TracerBoolConversionError: "Choose with anneal.numpy.where or anneal.lax.cond instead "
    "of `if`, or mark the argument static with static_argnums.",
    errors.TracerArrayConversionError: "Use the anneal.numpy function of the same name instead of "
    "NumPy's, or move this out of the jitted function.",
}


def places_of(u: UOp) -> str:
    """The lines that made `u`, as `file:1, file:2`; "" where none is known."""
    return ", ".join(dict.fromkeys(f"{o.file}:{o.line}" for o in lines_of(u)))


def leak_message(u: UOp, params: Sequence[UOp]) -> str:
    """Says where an array of a finished trace came from."""
    known = argument(params[0])
    who = known.name if known is not None else "an argument"
    places = places_of(u)
    if not places and known is not None and known.origin is not None:
        places = f"{known.origin.file}:{known.origin.line}"
    at = f" It was made at {places}." if places else ""
    return (
        f"an array {describe(u)} was used after the trace that it belongs to had ended: it depends "
        f"on {who}.{at} Return it from the function instead of storing it in a global, an "
        "attribute or a list."
    )
