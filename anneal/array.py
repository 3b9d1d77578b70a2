"""Array: the one value users hold. It wraps a UOp and is lazy: operations build the graph, reading
a value runs it.

In: Python scalars, nested lists, NumPy arrays (`asarray`), UOps (`make`). Out: Arrays; `realize`
executes what several of them need as one graph. The rest of the frontend builds on `asarray`,
`promote`, `broadcast` and `make`. NumPy is imported where data crosses the border, not before.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Union

from anneal import errors
from anneal.provenance import made
from anneal.realization import (
    HostBuffer,
    computed,
    describe,
    execute,
    is_known,
    keep_derivative,
    pending,
    read,
)
from anneal.uop import dtypes, ops
from anneal.uop.dtypes import DType
from anneal.uop.uop import (
    Dim,
    Shape,
    UOp,
    buffer,
    const,
    same_dim,
    show_shape,
)

if TYPE_CHECKING:
    import numpy as np

ArrayLike = Union["Array", bool, int, float, "np.ndarray[Any, Any]", Sequence[Any]]

# An un-jitted loop is cut into graphs of this depth: long enough to fuse everything worth fusing,
# short enough that a graph is compiled in the time of a blink.
MOST_PENDING = 1000


def make(uop: UOp, weak_type: bool = False) -> Array:
    """An Array of `uop`, made by the user's line, as is what of it no line has made."""
    made(uop)
    out = Array(uop, weak_type)
    if uop.depth > MOST_PENDING and not uop.traced:
        realize((out,))
    return out


# -- Array -----------------------------------------------------------------------------------------

_numpy_module: Any = None


def _np() -> Any:
    """anneal.numpy, which is built on this module."""
    global _numpy_module
    if _numpy_module is None:
        import anneal.numpy

        _numpy_module = anneal.numpy
    return _numpy_module


class Array:
    """An n-dimensional array of one dtype, immutable and lazy.

    Made by `anneal.numpy` functions, not by this constructor. `weak_type`: the dtype came from a
    Python scalar and yields to others' (https://docs.jax.dev/en/latest/type_promotion.html).

    >>> import anneal.numpy as anp
    >>> x = anp.asarray([1.0, 2.0, 3.0])
    >>> (x * 2).tolist()
    [2.0, 4.0, 6.0]
    """

    __slots__ = ("__weakref__", "_uop", "weak_type")
    __array_priority__ = 100  # NumPy's operators leave the work to ours

    def __init__(self, uop: UOp, weak_type: bool = False) -> None:
        self._uop = uop
        self.weak_type = weak_type
        if uop.src and not uop.traced:
            pending[uop] = self

    @property
    def uop(self) -> UOp:
        """The node of this value: its BUFFER once it was computed.

        Whoever asks may keep it, so the memory is no more this Array's alone.
        """
        u = self.node()
        if u.op is ops.BUFFER:
            u.arg[0].shared = True
        return u

    def node(self) -> UOp:
        """`uop`, for those who only look."""
        u = self._uop
        if u.value is not None and not u.traced:
            if pending.get(u) is self:
                pending.pop(u, None)  # another thread may be here too
            u = self._uop = u.value
        return u

    @property
    def shape(self) -> tuple[int, ...]:
        return self._uop.shape  # type: ignore[return-value]

    @property
    def dtype(self) -> DType:
        return self._uop.dtype

    @property
    def ndim(self) -> int:
        return len(self._uop.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def T(self) -> Array:
        """The axes in reverse order."""
        return self._call("transpose")

    @property
    def mT(self) -> Array:
        """The last two axes swapped."""
        return self._call("swapaxes", -1, -2)

    @property
    def at(self) -> Any:
        """`x.at[i].set(v)`, `.add(v)`, ...: a new array with some elements changed."""
        return _np().At(self)

    # -- reading a value ----------------------------------------------------------------------

    def numpy(self) -> np.ndarray[Any, Any]:
        """The value as a NumPy array that is read-only, computed now if it was not.

        Raises TracerArrayConversionError inside `jit`, and where a derivative would end there.
        """
        error, what = errors.TracerArrayConversionError, "converted to a NumPy array"
        keep_derivative(self._uop, error, what)
        return self._read(error, what)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        value = self.numpy()
        if dtype is not None and value.dtype != dtype:
            if copy is False:
                raise ValueError(f"{describe(self)} as NumPy's {dtype} is a copy")
            return value.astype(dtype)
        return value.copy() if copy else value

    def item(self) -> bool | int | float:
        """The one element as a Python scalar, a constant to derivatives; ValueError if there is
        not exactly one."""
        return self._scalar(errors.ConcretizationTypeError, "converted to a Python scalar")

    def tolist(self) -> Any:
        """The value as nested lists of Python scalars (a scalar for shape ())."""
        return self.numpy().tolist()

    def __bool__(self) -> bool:
        return bool(self._scalar(errors.TracerBoolConversionError, "used as a Python bool"))

    def __int__(self) -> int:
        return int(self._scalar(errors.TracerIntegerConversionError, "used as a Python int"))

    def __float__(self) -> float:
        error, what = errors.ConcretizationTypeError, "used as a Python float"
        keep_derivative(self._uop, error, what)
        return float(self._scalar(error, what))

    def __index__(self) -> int:
        if not self.dtype.is_int or self.shape != ():
            raise TypeError(f"only integer arrays of shape () can index, got {describe(self)}")
        return int(self)

    def _scalar(self, error: type[errors.ConcretizationTypeError], what: str) -> bool | int | float:
        u = self._uop
        if u.op is ops.CONST:
            return u.arg  # type: ignore[no-any-return]
        if self.size != 1:
            raise ValueError(
                f"an array of shape {show_shape(u.shape)} cannot be {what}: it has {self.size} "
                "elements, not one; reduce it first, e.g. with .all(), .any() or .sum()"
            )
        return self._read(error, what).item()  # type: ignore[no-any-return]

    def _read(
        self, error: type[errors.ConcretizationTypeError], what: str
    ) -> np.ndarray[Any, Any]:
        return read(computed(self.node(), error, what), self.shape)

    def block_until_ready(self) -> Array:
        """Computes the value if it was not, waits for the device, and returns self."""
        self._read(errors.ConcretizationTypeError, "waited for")
        return self

    def is_deleted(self) -> bool:
        """Whether the memory was donated to a jitted function."""
        u = self.node()
        return u.op is ops.BUFFER and bool(u.arg[0].spent)

    def __repr__(self) -> str:
        if self._uop.traced and not is_known(self._uop):
            return f"Array(traced, {describe(self)})"
        if self.is_deleted():
            return f"Array(deleted, {describe(self)})"
        import numpy as np

        value = self._read(errors.ConcretizationTypeError, "shown")
        text = np.array2string(value, separator=", ", prefix="Array(", threshold=200)
        weak = ", weak_type=True" if self.weak_type else ""
        return f"Array({text}, dtype={self.dtype.name}{weak})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec and self.shape == () else format(str(self), spec)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array of shape ()")
        return self.shape[0]

    def __iter__(self) -> Iterator[Array]:
        if not self.shape:
            raise TypeError("iteration over an array of shape ()")
        return (self[i] for i in range(self.shape[0]))

    def __getitem__(self, key: Any) -> Array:
        return _np().getitem(self, key)  # type: ignore[no-any-return]

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TypeError("arrays are immutable: instead of x[i] = v write x = x.at[i].set(v)")

    # -- operators ----------------------------------------------------------------------------

    __hash__ = None  # type: ignore[assignment]

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Array:
        return getattr(_np(), name)(self, *args, **kwargs)  # type: ignore[no-any-return]

    def _reduced(self, name: str, axis: Any, out: None = None, **kwargs: Any) -> Array:
        """A reduction; `out` is for NumPy's functions, np.sum(x) say, which always pass it."""
        if out is not None:
            raise TypeError(f"{name}: Arrays do not change, so there is no `out`; take the result")
        return self._call(name, axis, **kwargs)

    def _binary(self, name: str, other: Any) -> Array:
        if not _is_operand(other):
            return NotImplemented  # type: ignore[no-any-return]
        return getattr(_np(), name)(self, other)  # type: ignore[no-any-return]

    def _reflected(self, name: str, other: Any) -> Array:
        if not _is_operand(other):
            return NotImplemented  # type: ignore[no-any-return]
        return getattr(_np(), name)(other, self)  # type: ignore[no-any-return]

    def __add__(self, other: Any) -> Array:
        return self._binary("add", other)

    def __radd__(self, other: Any) -> Array:
        return self._reflected("add", other)

    def __sub__(self, other: Any) -> Array:
        return self._binary("subtract", other)

    def __rsub__(self, other: Any) -> Array:
        return self._reflected("subtract", other)

    def __mul__(self, other: Any) -> Array:
        return self._binary("multiply", other)

    def __rmul__(self, other: Any) -> Array:
        return self._reflected("multiply", other)

    def __truediv__(self, other: Any) -> Array:
        return self._binary("true_divide", other)

    def __rtruediv__(self, other: Any) -> Array:
        return self._reflected("true_divide", other)

    def __floordiv__(self, other: Any) -> Array:
        return self._binary("floor_divide", other)

    def __rfloordiv__(self, other: Any) -> Array:
        return self._reflected("floor_divide", other)

    def __divmod__(self, other: Any) -> tuple[Array, Array]:
        return NotImplemented if not _is_operand(other) else _np().divmod(self, other)

    def __rdivmod__(self, other: Any) -> tuple[Array, Array]:
        return NotImplemented if not _is_operand(other) else _np().divmod(other, self)

    def __mod__(self, other: Any) -> Array:
        return self._binary("remainder", other)

    def __rmod__(self, other: Any) -> Array:
        return self._reflected("remainder", other)

    def __pow__(self, other: Any) -> Array:
        return self._binary("power", other)

    def __rpow__(self, other: Any) -> Array:
        return self._reflected("power", other)

    def __matmul__(self, other: Any) -> Array:
        return self._binary("matmul", other)

    def __rmatmul__(self, other: Any) -> Array:
        return self._reflected("matmul", other)

    def __and__(self, other: Any) -> Array:
        return self._binary("bitwise_and", other)

    def __rand__(self, other: Any) -> Array:
        return self._reflected("bitwise_and", other)

    def __or__(self, other: Any) -> Array:
        return self._binary("bitwise_or", other)

    def __ror__(self, other: Any) -> Array:
        return self._reflected("bitwise_or", other)

    def __xor__(self, other: Any) -> Array:
        return self._binary("bitwise_xor", other)

    def __rxor__(self, other: Any) -> Array:
        return self._reflected("bitwise_xor", other)

    def __lshift__(self, other: Any) -> Array:
        return self._binary("left_shift", other)

    def __rlshift__(self, other: Any) -> Array:
        return self._reflected("left_shift", other)

    def __rshift__(self, other: Any) -> Array:
        return self._binary("right_shift", other)

    def __rrshift__(self, other: Any) -> Array:
        return self._reflected("right_shift", other)

    def __eq__(self, other: object) -> Array:  # type: ignore[override]
        return self._binary("equal", other)

    def __ne__(self, other: object) -> Array:  # type: ignore[override]
        return self._binary("not_equal", other)

    def __lt__(self, other: Any) -> Array:
        return self._binary("less", other)

    def __le__(self, other: Any) -> Array:
        return self._binary("less_equal", other)

    def __gt__(self, other: Any) -> Array:
        return self._binary("greater", other)

    def __ge__(self, other: Any) -> Array:
        return self._binary("greater_equal", other)

    def __neg__(self) -> Array:
        return self._call("negative")

    def __pos__(self) -> Array:
        return self.copy()

    def __abs__(self) -> Array:
        return self._call("abs")

    def __invert__(self) -> Array:
        return self._call("invert")

    def __round__(self, digits: int = 0) -> Array:
        return self._call("round", digits)

    # -- methods: the anneal.numpy functions of the same names ----------------------------------

    def astype(self, dtype: Any) -> Array:
        """The same values as `dtype`; floats round to nearest even, floats to ints truncate."""
        return make(self.uop.cast(as_dtype(dtype)))

    def reshape(self, *shape: Any, order: str = "C") -> Array:
        return self._call("reshape", shape[0] if len(shape) == 1 else shape, order=order)

    def transpose(self, *axes: Any) -> Array:
        if not axes or axes == (None,):
            return self._call("transpose")
        return self._call("transpose", axes[0] if isinstance(axes[0], tuple | list) else axes)

    def ravel(self) -> Array:
        return self._call("ravel")

    def flatten(self) -> Array:
        return self._call("ravel")

    def squeeze(self, axis: Any = None) -> Array:
        return self._call("squeeze", axis)

    def swapaxes(self, axis1: int, axis2: int) -> Array:
        return self._call("swapaxes", axis1, axis2)

    def sum(self, axis: Any = None, **kwargs: Any) -> Array:
        return self._reduced("sum", axis, **kwargs)

    def prod(self, axis: Any = None, **kwargs: Any) -> Array:
        return self._reduced("prod", axis, **kwargs)

    def mean(self, axis: Any = None, **kwargs: Any) -> Array:
        return self._reduced("mean", axis, **kwargs)

    def var(self, axis: Any = None, **kwargs: Any) -> Array:
        return self._reduced("var", axis, **kwargs)

    def std(self, axis: Any = None, **kwargs: Any) -> Array:
        return self._reduced("std", axis, **kwargs)

    def max(self, axis: Any = None, **kwargs: Any) -> Array:
        return self._reduced("max", axis, **kwargs)

    def min(self, axis: Any = None, **kwargs: Any) -> Array:
        return self._reduced("min", axis, **kwargs)

    def argmax(self, axis: Any = None, **kwargs: Any) -> Array:
        return self._reduced("argmax", axis, **kwargs)

    def argmin(self, axis: Any = None, **kwargs: Any) -> Array:
        return self._reduced("argmin", axis, **kwargs)

    def all(self, axis: Any = None, **kwargs: Any) -> Array:
        return self._reduced("all", axis, **kwargs)

    def any(self, axis: Any = None, **kwargs: Any) -> Array:
        return self._reduced("any", axis, **kwargs)

    def cumsum(self, axis: Any = None, **kwargs: Any) -> Array:
        return self._reduced("cumsum", axis, **kwargs)

    def dot(self, other: Any) -> Array:
        return self._call("dot", other)

    def take(self, indices: Any, axis: Any = None, **kwargs: Any) -> Array:
        return self._call("take", indices, axis, **kwargs)

    def repeat(self, repeats: int, axis: Any = None) -> Array:
        return self._call("repeat", repeats, axis)

    def clip(self, min: Any = None, max: Any = None) -> Array:
        return self._call("clip", min, max)

    def round(self, decimals: int = 0) -> Array:
        return self._call("round", decimals)

    def copy(self) -> Array:
        """An Array of the same value, which lives on when this one is donated."""
        return Array(self.uop, self.weak_type)

    def __copy__(self) -> Array:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> Array:
        return self.copy()


def _is_operand(x: object) -> bool:
    return isinstance(x, Array | bool | int | float | list) or hasattr(x, "__array__")


# -- what users give -------------------------------------------------------------------------------

_NARROW = {dtypes.int64: dtypes.int32, dtypes.uint64: dtypes.uint32, dtypes.float64: dtypes.float32}
_OF_PYTHON = {bool: dtypes.bool_, int: dtypes.int32, float: dtypes.float32}


def as_dtype(dtype: Any) -> DType:
    """The DType that `dtype` (a DType, its name, a Python or NumPy type) means.

    64-bit types become 32-bit ones with a warning, as in JAX without x64. Raises TypeError.

    >>> as_dtype("bfloat16"), as_dtype(int)
    (bfloat16, int32)
    """
    if isinstance(dtype, DType):
        found = dtype
    elif isinstance(dtype, type) and dtype in _OF_PYTHON:
        return _OF_PYTHON[dtype]
    elif isinstance(dtype, str):
        found = dtypes.by_name(dtype)
    else:
        import numpy as np

        found = dtypes.by_name(np.dtype(dtype).name)
    narrow = _NARROW.get(found)
    if narrow is None:
        return found
    warnings.warn(f"dtype {found} was asked for; without 64-bit types {narrow} is used",
                  stacklevel=3)  # fmt: skip
    return narrow


def asarray(x: Any, dtype: Any = None) -> Array:
    """`x` as an Array: Python scalars are weakly typed, 64-bit NumPy data becomes 32-bit.

    Raises TypeError for what is no number, OverflowError for integers beyond the dtype.

    >>> asarray(3).dtype, asarray(3).weak_type
    (int32, True)
    """
    if isinstance(x, Array):
        return x if dtype is None else x.astype(dtype)
    if isinstance(x, bool | int | float) and not hasattr(x, "dtype"):  # np.float64 is a float
        return _of_scalar(x, dtype)
    if isinstance(x, list | tuple) and _holds_arrays(x):
        out: Array = _np().stack([asarray(e) for e in x])
        return out if dtype is None else out.astype(dtype)
    if isinstance(x, list | tuple) or hasattr(x, "__array__") or hasattr(x, "__array_interface__"):
        return _of_host(x, dtype)
    raise TypeError(f"expected an array, a number or lists of numbers, got {type(x).__name__}")


def _of_scalar(x: bool | int | float, dtype: Any) -> Array:
    if isinstance(x, bool):
        own = dtypes.bool_
    elif isinstance(x, int):
        own = dtypes.int32
    else:
        own = dtypes.float32
    target = own if dtype is None else as_dtype(dtype)
    if isinstance(x, int) and target.is_int and not target.min <= x <= target.max:
        raise OverflowError(f"the Python int {x} does not fit {target}")
    truncated = own is dtypes.float32 and not target.is_float
    node = const(x, own).cast(target) if truncated else const(x, target)
    return make(node, weak_type=dtype is None and own is not dtypes.bool_)


def _holds_arrays(x: Sequence[Any]) -> bool:
    return any(
        isinstance(e, Array) or (isinstance(e, list | tuple) and _holds_arrays(e)) for e in x
    )


def _of_host(x: Any, dtype: Any) -> Array:
    import numpy as np

    data = np.asarray(x)
    if data.dtype.kind == "f" and not data.size and isinstance(x, list | tuple):
        data = data.astype(np.float32)
    if not data.dtype.isnative:
        data = data.astype(data.dtype.newbyteorder("="))
    try:
        own = dtypes.by_name(data.dtype.name)
    except TypeError:
        raise TypeError(
            f"arrays hold bools, integers and floats, not NumPy's {data.dtype}"
        ) from None
    narrow = _NARROW.get(own, own)
    if narrow is not own:
        if narrow.is_int and dtype is not None and (asked := as_dtype(dtype)).is_int:
            narrow = asked
        if narrow.is_int and data.size and not (
            narrow.min <= data.min() and data.max() <= narrow.max
        ):
            raise OverflowError(
                f"{own} values from {data.min()} to {data.max()} do not fit {narrow}"
            )
        with np.errstate(over="ignore"):
            data = data.astype(narrow.name)
    out = of_numpy(data, narrow)
    return out if dtype is None else out.astype(dtype)


def of_numpy(data: np.ndarray[Any, Any], dtype: DType) -> Array:
    """An Array of host data that already has `dtype`; the data is copied."""
    if data.ndim == 0:
        return make(const(data.item(), dtype))
    node = buffer(HostBuffer(data.copy(order="C"), dtype), dtype, data.shape)
    return make(node)


def promote(*arrays: Any) -> tuple[list[Array], DType, bool]:
    """`arrays` as Arrays of the one dtype that JAX's lattice gives them, that dtype, and whether
    it is weak. TypeError where 32 bits hold no common dtype."""
    out = [a if isinstance(a, Array) else asarray(a) for a in arrays]
    dtype, weak = out[0].dtype, out[0].weak_type
    same = True
    for a in out[1:]:
        if a.dtype is not dtype or a.weak_type is not weak:
            dtype, weak = dtypes.promote(dtype, weak, a.dtype, a.weak_type)
            same = False
    if not same:
        out = [a if a.dtype is dtype else Array(a.uop.cast(dtype), weak) for a in out]
    return out, dtype, weak


def broadcast_shapes(*shapes: Shape) -> Shape:
    """The shape that NumPy broadcasting gives; ValueError names the shapes."""
    out: tuple[Dim, ...] = ()
    for shape in shapes:
        if shape == out or not shape:
            continue
        if len(shape) > len(out):
            out, shape = shape, out
        merged = list(out)
        for i in range(1, len(shape) + 1):
            a, b = merged[-i], shape[-i]
            if isinstance(a, int) and a == 1:
                merged[-i] = b
            elif not (isinstance(b, int) and b == 1) and not same_dim(a, b):
                raise ValueError(
                    f"cannot broadcast shapes {' and '.join(show_shape(s) for s in shapes)}: "
                    f"axis {-i} is {a} in one and {b} in another; they must be equal or 1"
                )
        out = tuple(merged)
    return out


def broadcast(*arrays: Any) -> list[Array]:
    """`arrays` expanded to one shape by NumPy's rules; those of shape () stay so, for the IR
    broadcasts them itself. ValueError names the shapes."""
    out = [a if isinstance(a, Array) else asarray(a) for a in arrays]
    first = out[0].shape
    for a in out:
        if a.shape != first:
            break
    else:
        return out
    shape = broadcast_shapes(*[a.shape for a in out])
    return [a if a.shape == () or a.shape == shape
            else Array(a.uop.broadcast_to(shape), a.weak_type) for a in out]  # fmt: skip


def realize(arrays: Sequence[Array]) -> None:
    """Computes `arrays`, as one graph; afterwards each is its BUFFER, but for scalar constants.

    Raises ConcretizationTypeError for values of a trace in progress, DeletedArrayError for arrays
    whose memory was donated.
    """
    todo = list(dict.fromkeys(u for a in arrays if (u := a.node()).op is not ops.BUFFER))
    execute([u for u in todo if not u.traced])
    for u in todo:
        if u.traced:
            computed(u, errors.ConcretizationTypeError, "computed")
    for a in arrays:
        a.node()  # lets go of the graph
