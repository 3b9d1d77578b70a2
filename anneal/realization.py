"""Execution of graphs: from lazy UOps to BUFFERs, and back to host data.

In: UOps whose value someone reads. Out: BUFFER nodes that hold it, on `anneal.device`. Here are
also the errors for values that are not there yet (inside `jit`), or no longer (leaked, donated).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from anneal import errors, provenance
from anneal.provenance import argument, lines_of, user_origin
from anneal.uop import dtypes, ops
from anneal.uop.dtypes import DType
from anneal.uop.uop import Graph, Origins, Shape, UOp, buffer, param, substitute, toposort

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

    __slots__ = ("__weakref__", "data", "deleted", "dtype", "shared", "size", "uploaded")

    def __init__(self, data: np.ndarray[Any, Any], dtype: DType) -> None:
        data.flags.writeable = False
        self.data = data
        self.dtype = dtype
        self.size = data.size
        self.deleted = False
        self.shared = False
        self.uploaded: Any = None

    def __repr__(self) -> str:
        return f"HostBuffer({self.dtype}, {self.size})"


def _forget_deleted(u: UOp) -> None:
    """A pure node whose value was donated away can be computed again."""
    held = None if u.op is ops.PARAM else u.value
    if held is not None and held.op is ops.BUFFER and held.arg[0].deleted:
        u.value = None


def computed(u: UOp, error: type[errors.ConcretizationTypeError], what: str) -> UOp:
    """The BUFFER that holds the value of `u`; `error` where an argument's value is not known."""
    if u.op is ops.BUFFER:
        return u
    _forget_deleted(u)
    if u.value is None or u.op is ops.PARAM:
        known = _bound(u, error, what) if u.traced else u
        if known.op is ops.BUFFER:
            return known
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
    """Runs the graph of `roots` (distinct, untraced) and sets their `value`."""
    for u in roots:
        _forget_deleted(u)
    roots = [u for u in roots if u.value is None and u.op is not ops.BUFFER]
    for u in roots:
        if u.op is ops.CONST:
            u.value = scalar_buffer(u)
    roots = [u for u in roots if u.op is not ops.CONST]
    if not roots:
        return
    from anneal import device

    graph, leaves = close_over(roots)
    storages = device.compile(graph, frozenset())(device_storages(leaves))
    for u, storage in zip(roots, storages, strict=True):
        storage.shared = True  # with every Array of this node: interning makes them one
        u.value = buffer(storage, u.dtype, u.shape)


# Recent scalars on the device: learning rates, step counts, seeds. Few bytes each, dropped at once.
_scalars: dict[UOp, UOp] = {}
_MOST_SCALARS = 256


def scalar_buffer(u: UOp) -> UOp:
    """A BUFFER that holds a CONST."""
    known = _scalars.get(u)
    if known is not None and not known.arg[0].deleted:
        return known
    import numpy as np

    if len(_scalars) >= _MOST_SCALARS:
        _scalars.clear()
    host = HostBuffer(np.array(u.arg, numpy_dtype(u.dtype)), u.dtype)
    host.shared = True
    made = _scalars[u] = buffer(host, u.dtype, ())
    return made


def numpy_dtype(dtype: DType) -> np.dtype[Any]:
    """NumPy's dtype for ours; ml_dtypes' for bfloat16."""
    import numpy as np

    if dtype is dtypes.bfloat16:
        import ml_dtypes

        half: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return half
    return np.dtype(dtype.name)


def _is_held(u: UOp) -> bool:
    if u.value is not None:
        _forget_deleted(u)
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
    if storage.deleted:
        raise errors.DeletedArrayError(
            f"an array {describe(u)} was used after its memory was donated to a jitted function "
            "(donate_argnums): use that function's result instead, or do not donate it"
        )
    if not isinstance(storage, HostBuffer):
        return storage
    if storage.uploaded is None:
        from anneal import device

        storage.uploaded = device.upload(storage.data)
    return storage.uploaded


def read(u: UOp, shape: Shape) -> np.ndarray[Any, Any]:
    """The data of a BUFFER node as a NumPy array of `shape`."""
    storage = u.arg[0]
    if isinstance(storage, HostBuffer) and not storage.deleted:
        return storage.data
    from anneal import device

    return device.read(device_storage(u)).reshape(shape)


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
            n.op is ops.PARAM or any(carries[s] for s in n.src))  # fmt: skip
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
