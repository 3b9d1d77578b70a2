"""What random programs mean, in NumPy: dtypes as in JAX, floats computed in float64 and rounded
to the result's dtype. float64 inputs stay float64, for derivatives by differences.

What indices do is JAX's: negative ones count from the end, `getitem` clamps, `take` fills, updates
outside are dropped; of several `at_set` to one element the last counts.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np

Data = np.ndarray[Any, Any]


def __getattr__(name: str) -> Any:
    try:
        return _TABLE[name]
    except KeyError:
        raise AttributeError(f"the reference has no {name}") from None


# -- dtypes ----------------------------------------------------------------------------------------


class NoCommonDtype(TypeError):
    """uint32 and signed integers, which 32 bits do not hold."""


def _join(a: np.dtype[Any], b: np.dtype[Any]) -> np.dtype[Any]:
    """JAX's promotion of two dtypes. anneal's refusal is NoCommonDtype."""
    if a == b or b.kind == "b":
        return a
    if a.kind == "b":
        return b
    if "f" in (a.kind, b.kind):
        floats = [d for d in (a, b) if d.kind == "f"]
        return builtins.max(floats, key=lambda d: d.itemsize)
    if a.kind == b.kind:
        return builtins.max(a, b, key=lambda d: d.itemsize)
    signed, unsigned = (a, b) if a.kind == "i" else (b, a)
    if unsigned.itemsize == 4:
        raise NoCommonDtype(f"{a} and {b}")
    return np.dtype(f"i{builtins.max(signed.itemsize, 2 * unsigned.itemsize)}")


def _weakly(dtype: np.dtype[Any] | None, x: Any) -> np.dtype[Any] | None:
    """The dtype after meeting a Python scalar, which yields to others of its kind."""
    if isinstance(x, bool):
        return dtype or np.dtype(bool)
    if isinstance(x, int):
        return np.dtype(np.int32) if dtype is None or dtype.kind == "b" else dtype
    return dtype if dtype is not None and dtype.kind == "f" else np.dtype(np.float32)


# Not what isinstance calls so: np.float64 is a float.
_SCALARS = (bool, int, float)


def promoted(*args: Any) -> np.dtype[Any]:
    """The dtype in which arguments meet."""
    out: np.dtype[Any] | None = None
    for x in args:
        if type(x) not in _SCALARS:
            kind = np.asarray(x).dtype.newbyteorder("=")
            out = kind if out is None else _join(out, kind)
    for x in args:
        if type(x) in _SCALARS:
            out = _weakly(out, x)
    assert out is not None
    return out


def _floating(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype if dtype.kind == "f" else np.dtype(np.float32)


def _wide(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What to compute in: integers wrap when the result is narrowed."""
    return np.dtype({"f": np.float64, "b": bool}.get(dtype.kind, np.int64))


# -- makers of functions ---------------------------------------------------------------------------


def _elementwise(f: Callable[..., Any], result: str = "same") -> Callable[..., Data]:
    """f of arguments promoted to one dtype. `result`: "same", "float" or "bool"."""

    def apply(*args: Any) -> Data:
        dtype = promoted(*args)
        dtype = _floating(dtype) if result == "float" else dtype
        with np.errstate(all="ignore"):
            out = f(*[np.asarray(x).astype(dtype).astype(_wide(dtype)) for x in args])
            return np.asarray(out).astype(bool if result == "bool" else dtype)

    return apply


def _bitwise(f: Callable[..., Any]) -> Callable[..., Data]:
    """f in the dtype itself."""

    def apply(*args: Any) -> Data:
        dtype = promoted(*args)
        with np.errstate(all="ignore"):
            return np.asarray(f(*[np.asarray(x).astype(dtype) for x in args])).astype(dtype)

    return apply


def _summed(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Sums and products of integers are at least of 32 bits."""
    return {"b": np.dtype(np.int32), "i": np.dtype(np.int32), "u": np.dtype(np.uint32)}.get(
        dtype.kind, dtype)  # fmt: skip


def _reduction(f: Callable[..., Any], dtype: Callable[[np.dtype[Any]], Any]) -> Callable[..., Data]:
    def apply(x: Data, axis: Any = None, keepdims: bool = False) -> Data:
        with np.errstate(all="ignore"):
            out = f(x.astype(_wide(x.dtype)), axis=axis, keepdims=keepdims)
            return np.asarray(out).astype(dtype(x.dtype))

    return apply


def _running(f: Callable[..., Any]) -> Callable[..., Data]:
    def apply(x: Data, axis: Any = None) -> Data:
        dtype = np.dtype(np.int32) if x.dtype.kind == "b" else x.dtype
        return np.asarray(f(x.astype(dtype).astype(_wide(dtype)), axis=axis)).astype(dtype)

    return apply


def _contraction(f: Callable[..., Any]) -> Callable[..., Data]:
    def apply(a: Data, b: Data, *args: Any) -> Data:
        dtype = promoted(a, b)
        out = f(a.astype(_wide(dtype)), b.astype(_wide(dtype)), *args)
        return np.asarray(out).astype(dtype)

    return apply


def _moved(f: Callable[..., Any]) -> Callable[..., Data]:
    """f moves elements and computes nothing."""
    return lambda *args, **kwargs: np.ascontiguousarray(f(*args, **kwargs)).reshape(
        np.shape(f(*args, **kwargs)))  # fmt: skip


def _joined(f: Callable[..., Any]) -> Callable[..., Data]:
    def apply(xs: Any, axis: int = 0) -> Data:
        return np.asarray(f([np.asarray(x).astype(promoted(*xs)) for x in xs], axis))

    return apply


# -- functions that NumPy has not, or has otherwise -----------------------------------------------


def called(kind: str, f: Callable[..., Any], *args: Any) -> Any:
    return f(*args)


def astype(x: Data, dtype: str) -> Data:
    return x.astype(dtype)


def where(p: Data, a: Any, b: Any) -> Data:
    dtype = promoted(a, b)
    return np.asarray(np.where(p, np.asarray(a).astype(dtype), np.asarray(b).astype(dtype)))


def clip(x: Data, low: Any, high: Any) -> Data:
    return np.asarray(_TABLE["minimum"](_TABLE["maximum"](x, low), high))


def logsumexp(x: Data, axis: Any = None, keepdims: bool = False) -> Data:
    wide = x.astype(np.float64)
    top = wide.max(axis, keepdims=True, initial=-np.inf)
    with np.errstate(divide="ignore"):  # of nothing
        out = top + np.log(np.exp(wide - top).sum(axis, keepdims=True))
    return np.asarray((out if keepdims else out.squeeze(axis)).astype(_floating(x.dtype)))


def log_softmax(x: Data, axis: int = -1) -> Data:
    wide = x.astype(np.float64)
    return np.asarray((wide - logsumexp(wide, axis, True)).astype(_floating(x.dtype)))


def softmax(x: Data, axis: int = -1) -> Data:
    return np.exp(log_softmax(x.astype(np.float64), axis)).astype(_floating(x.dtype))


def cross_entropy(logits: Data, labels: Data) -> Data:
    rows = log_softmax(logits.astype(np.float64))
    return np.asarray(-rows[np.arange(len(labels)), labels].mean()).astype(logits.dtype)


def softplus(x: Data) -> Data:
    return np.logaddexp(x.astype(np.float64), 0.0).astype(_floating(x.dtype))


def sigmoid(x: Data) -> Data:
    return (1 / (1 + np.exp(-x.astype(np.float64)))).astype(_floating(x.dtype))


def relu(x: Data) -> Data:
    return np.asarray(np.maximum(x, np.zeros((), x.dtype)))


def _wrapped(i: Any, n: int) -> Data:
    i = np.asarray(i).astype(np.int64)
    return np.asarray(np.where(i < 0, i + n, i))


def _filled(out: Data, inside: Data) -> Data:
    kind = out.dtype.kind
    fill: Any = (np.nan if kind == "f" else True if kind == "b" else
                 np.iinfo(out.dtype).min if kind == "i" else np.iinfo(out.dtype).max)
    return np.where(inside, out, np.asarray(fill).astype(out.dtype))


def take(x: Data, i: Any, axis: int | None = None, mode: str = "fill") -> Data:
    x, axis = (x.reshape(-1), 0) if axis is None else (x, axis % x.ndim)
    n, i = x.shape[axis], np.asarray(i)
    at = i.astype(np.int64) % n if mode == "wrap" else _wrapped(i, n) if mode == "fill" else i
    out = np.take(x, np.clip(at.astype(np.int64), 0, n - 1), axis)
    if mode != "fill":
        return out
    inside = ((at >= 0) & (at < n)).reshape((*i.shape, *[1] * (x.ndim - axis - 1)))
    return _filled(out, inside)


def take_along_axis(x: Data, i: Data, axis: int, mode: str = "fill") -> Data:
    n = x.shape[axis]
    at = i.astype(np.int64) % n if mode == "wrap" else _wrapped(i, n)
    out = np.take_along_axis(x, np.clip(at, 0, n - 1), axis)
    return _filled(out, (at >= 0) & (at < n)) if mode == "fill" else out


def _is_array(k: Any) -> bool:
    return isinstance(k, np.ndarray) and k.dtype.kind != "b"


def getitem(x: Data, key: Any) -> Data:
    keys, axis, out = key if isinstance(key, tuple) else (key,), 0, []
    for k in keys:
        if _is_array(k):
            n = x.shape[axis]
            k = np.clip(_wrapped(k, n), 0, n - 1)
        axis += k is not None
        out.append(k)
    return np.asarray(x[tuple(out)])


def _updated(how: str) -> Callable[[Data, Any, Any], Data]:
    combine: dict[str, Any] = {"add": np.add, "multiply": np.multiply, "max": np.maximum,
                               "min": np.minimum}  # fmt: skip

    def apply(x: Data, key: Any, v: Any) -> Data:
        out = x.astype(_wide(x.dtype), order="C")
        flat, named = out.reshape(-1), _named(x, key)
        values = np.broadcast_to(np.asarray(v).astype(x.dtype), named.shape)
        for at, value in zip(named.reshape(-1), values.reshape(-1), strict=True):
            if at >= 0:
                flat[at] = value if how == "set" else combine[how](flat[at], value)
        return out.astype(x.dtype)

    return apply


def _named(x: Data, key: Any) -> Data:
    """The flat numbers of the elements that a key names, -1 outside: around what index arrays
    index is a rim of these."""
    keys = list(key) if isinstance(key, tuple) else [key]
    keys += [slice(None)] * (x.ndim - len(keys))
    rim = [(1, 1) if _is_array(k) else (0, 0) for k in keys]
    numbers = np.pad(np.arange(x.size).reshape(x.shape), rim, constant_values=-1)
    places = [np.clip(_wrapped(k, n), -1, n) + 1 if _is_array(k) else k
              for k, n in zip(keys, x.shape, strict=True)]  # fmt: skip
    return np.asarray(numbers[tuple(places)])


def argsort(x: Data, axis: int = -1) -> Data:
    return np.asarray(np.argsort(x, axis, kind="stable")).astype(np.int32)


def _arg(f: Callable[..., Any]) -> Callable[..., Data]:
    return lambda x, axis=None, keepdims=False: np.asarray(
        f(x, axis=axis, keepdims=keepdims)).astype(np.int32)  # fmt: skip


def arange(n: int) -> Data:
    return np.arange(n, dtype=np.int32)


def one_hot(i: Data, n: int) -> Data:
    return np.asarray(i[..., None] == np.arange(n)).astype(np.float32)


def power(x: Data, n: int) -> Data:
    """Of integers and floats to a small integer."""
    out = np.ones(x.shape, _wide(x.dtype))
    for _ in range(n):
        out = out * x
    return out.astype(x.dtype if x.dtype.kind != "b" else np.int32)


_TABLE: dict[str, Callable[..., Any]] = {}
_TABLE |= {name: _elementwise(getattr(np, name)) for name in (
    "add", "subtract", "multiply", "maximum", "minimum", "abs", "negative", "sign", "square",
    "floor_divide", "remainder", "positive")}  # fmt: skip
_TABLE |= {name: _elementwise(getattr(np, name), "float") for name in (
    "true_divide", "exp", "log", "sin", "cos", "tan", "tanh", "sinh", "cosh", "sqrt", "floor",
    "ceil", "trunc", "expm1", "log1p", "exp2", "log2", "log10", "hypot", "logaddexp", "copysign",
    "reciprocal")}  # fmt: skip
_TABLE |= {name: _elementwise(getattr(np, name), "bool") for name in (
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and",
    "logical_or", "logical_xor", "logical_not", "isnan", "isinf", "isfinite")}  # fmt: skip
_TABLE |= {name: _bitwise(getattr(np, name)) for name in (
    "bitwise_and", "bitwise_or", "bitwise_xor", "invert", "left_shift", "right_shift")}  # fmt: skip
_TABLE |= {name: _reduction(getattr(np, name), _summed) for name in ("sum", "prod")}
_TABLE |= {name: _reduction(getattr(np, name), lambda d: d) for name in ("max", "min")}
_TABLE |= {name: _reduction(getattr(np, name), _floating) for name in ("mean", "var", "std")}
_TABLE |= {name: _reduction(getattr(np, name), lambda d: bool) for name in ("any", "all")}
_TABLE |= {"cumsum": _running(np.cumsum), "cumprod": _running(np.cumprod),
           "argmax": _arg(np.argmax), "argmin": _arg(np.argmin)}  # fmt: skip
_TABLE |= {name: _contraction(getattr(np, name)) for name in (
    "matmul", "outer", "tensordot", "inner", "dot")}  # fmt: skip
_TABLE |= {name: _moved(getattr(np, name)) for name in (
    "reshape", "transpose", "flip", "roll", "pad", "tile", "repeat", "broadcast_to", "squeeze",
    "expand_dims", "swapaxes", "moveaxis", "tril", "triu", "diagonal", "rot90", "sort",
    "ravel")}  # fmt: skip
_TABLE |= {name: _joined(getattr(np, name)) for name in ("concatenate", "stack")}
_TABLE |= {f"at_{how}": _updated(how) for how in ("set", "add", "multiply", "max", "min")}
