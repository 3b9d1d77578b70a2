"""Random numbers from explicit keys: threefry2x32, bit for bit JAX's default generator.

A key is an array of 2 uint32. Functions, signatures and bits are jax.random's; float results agree
with it to rounding.

Source: J. K. Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, 2011; JAX's layout of
counters (`jax_threefry_partitionable`): element i is the exclusive or of both words at counter i.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import anneal.numpy as anp
from anneal.array import Array, as_dtype, asarray, make
from anneal.numpy.axes import canonical_axis, dims, integer, is_integer
from anneal.numpy.special import erf_inv
from anneal.uop import dtypes
from anneal.uop import uop as graph
from anneal.uop.dtypes import DType
from anneal.uop.uop import UOp, round_float, show_shape

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def key(seed: Any) -> Array:
    """A key from an integer seed, of which the low 32 bits count (as in JAX without x64).

    >>> key(42).tolist()
    [0, 42]
    """
    if isinstance(seed, Array):
        if seed.shape != () or not seed.dtype.is_int:
            raise TypeError(f"key: seed must be one integer, got shape {show_shape(seed.shape)} "
                            f"of {seed.dtype}")  # fmt: skip
        return anp.stack([anp.zeros((), dtypes.uint32), seed.astype(dtypes.uint32)])
    try:
        low = seed.__index__() & 0xFFFFFFFF
    except AttributeError:
        raise TypeError(f"key: seed must be an integer, got {seed!r}") from None
    return asarray([0, low], dtypes.uint32)


PRNGKey = key


def _key(name: str, k: Any) -> UOp:
    a = asarray(k)
    if a.shape != (2,) or a.dtype is not dtypes.uint32:
        raise TypeError(f"{name}: expected a key, 2 uint32 as random.key() and random.split() "
                        f"give, got shape {show_shape(a.shape)} of {a.dtype}")  # fmt: skip
    return a.uop


def _dims(name: str, shape: int | Sequence[int]) -> tuple[int, ...]:
    lengths = dims(name, "shape", shape)
    if any(d < 0 for d in lengths):
        raise ValueError(f"{name}: shape must not be negative, got {lengths}")
    return lengths


def _float_dtype(name: str, dtype: Any) -> DType:
    kind = dtypes.float32 if dtype is None else as_dtype(dtype)
    if not kind.is_float:
        raise TypeError(f"{name}: dtype must be a float dtype, got {kind}")
    return kind


def _threefry(k: UOp, high: UOp, low: UOp) -> tuple[UOp, UOp]:
    """Twenty rounds over two words of counter."""
    k0, k1 = k.shrink([(0, 1)]).reshape(()), k.shrink([(1, 2)]).reshape(())
    keys = (k0, k1, k0 ^ k1 ^ 0x1BD11BDA)
    x, y = high + k0, low + k1
    for i in range(5):
        for r in _ROTATIONS[i % 2]:
            x = x + y
            y = ((y << r) | (y >> (32 - r))) ^ x
        x = x + keys[(i + 1) % 3]
        y = y + keys[(i + 2) % 3] + (i + 1)
    return x, y


def _words(name: str, k: Any, n: int) -> tuple[UOp, UOp]:
    counter = graph.arange(n, dtypes.uint32)
    return _threefry(_key(name, k), counter.const_like(0), counter)


def split(k: Any, num: int | tuple[int, ...] = 2) -> Array:
    """`num` new keys, shape (num, 2); for a tuple, (*num, 2).

    >>> split(key(0)).shape
    (2, 2)
    """
    shape = _dims("split", num)
    x, y = _words("split", k, math.prod(shape))
    return anp.stack([make(x.reshape(shape)), make(y.reshape(shape))], axis=-1)


def fold_in(k: Any, data: Any) -> Array:
    """A new key from a key and one integer, of which the low 32 bits count."""
    if is_integer(data) and not isinstance(data, Array):
        word = graph.const(integer("fold_in", "data", data) & 0xFFFFFFFF, dtypes.uint32)
    else:
        word = asarray(data).uop.cast(dtypes.uint32)
    if word.shape != ():
        raise TypeError(f"fold_in: data must be one integer, got shape {show_shape(word.shape)}")
    x, y = _threefry(_key("fold_in", k), word.const_like(0), word)
    return anp.stack([make(x), make(y)])


def _bits(name: str, k: Any, shape: tuple[int, ...]) -> UOp:
    x, y = _words(name, k, math.prod(shape))
    return (x ^ y).reshape(shape)


def bits(k: Any, shape: int | Sequence[int] = (), dtype: Any = None) -> Array:
    """Uniform bits as uint32, uint16 or uint8."""
    kind = dtypes.uint32 if dtype is None else as_dtype(dtype)
    if kind.kind != "u":
        raise TypeError(f"bits: dtype must be an unsigned integer dtype, got {kind}")
    return make(_bits("bits", k, _dims("bits", shape)).cast(kind))


# Bits drawn, and bits of them that make the mantissa.
_MANTISSA = {dtypes.float32: (32, 23), dtypes.float16: (16, 10), dtypes.bfloat16: (8, 7)}


def uniform(k: Any, shape: int | Sequence[int] = (), dtype: Any = None, minval: Any = 0.0,
            maxval: Any = 1.0) -> Array:  # fmt: skip
    """Floats from minval to below maxval, float32 unless said otherwise.

    >>> uniform(key(0), (2, 3)).shape
    (2, 3)
    """
    kind = _float_dtype("uniform", dtype)
    drawn, mantissa = _MANTISSA[kind]
    u = _bits("uniform", k, _dims("uniform", shape))
    if drawn == 32:
        unit = ((u >> 9) | 0x3F800000).bitcast(kind) - 1.0
    else:
        whole = (u & (2**drawn - 1)) >> (drawn - mantissa)
        unit = (whole.cast(dtypes.float32) * 2.0**-mantissa).cast(kind)
    if isinstance(minval, int | float) and isinstance(maxval, int | float):
        lo, hi = round_float(minval, kind), round_float(maxval, kind)
        if (lo, hi) == (0.0, 1.0):
            return make(unit)
        return make((unit * (hi - lo) + lo).maximum(lo))
    low, high = asarray(minval).astype(kind), asarray(maxval).astype(kind)
    return anp.maximum(low, make(unit) * (high - low) + low)


def normal(k: Any, shape: int | Sequence[int] = (), dtype: Any = None) -> Array:
    """Floats of mean 0 and variance 1."""
    kind = _float_dtype("normal", dtype)
    least = -(1.0 - 2.0 ** -(_MANTISSA[kind][1] + 1))  # the next float after -1
    return erf_inv(uniform(k, shape, kind, least, 1.0)) * math.sqrt(2)


def truncated_normal(k: Any, lower: float, upper: float, shape: int | Sequence[int] = (),
                     dtype: Any = None) -> Array:  # fmt: skip
    """Normal numbers given that they lie between `lower` and `upper`, two Python numbers."""
    kind = _float_dtype("truncated_normal", dtype)
    least, greatest = (math.erf(v / math.sqrt(2)) for v in (lower, upper))
    out = erf_inv(uniform(k, shape, kind, least, greatest)) * math.sqrt(2)
    return anp.clip(out, _next(lower, kind, up=True), _next(upper, kind, up=False))


def _next(x: float, kind: DType, up: bool) -> float:
    """The float of `kind` after x, upwards or downwards."""
    x = round_float(x, kind)
    if math.isinf(x):
        return x
    if x == 0:
        return 0.0
    _, exponent = math.frexp(x)
    (word,) = struct.unpack("<i", struct.pack("<f", x))
    unit = 1 << (23 - _MANTISSA[kind][1])
    if kind is dtypes.float16 and exponent < -13:
        return x + math.copysign(2.0**-24, 1 if up else -1)
    word += unit if (x > 0) == up else -unit
    return float(struct.unpack("<f", struct.pack("<i", word))[0])


def randint(k: Any, shape: int | Sequence[int], minval: Any, maxval: Any,
            dtype: Any = None) -> Array:  # fmt: skip
    """Integers from minval to below maxval, two Python ints; int32 unless said otherwise.

    `minval` is returned where maxval is not greater. Not quite uniform where the range is no power
    of 2; the bits are JAX's.
    """
    kind = dtypes.int32 if dtype is None else as_dtype(dtype)
    if not kind.is_int:
        raise TypeError(f"randint: dtype must be an integer dtype, got {kind}")
    least, top = int(kind.min), int(kind.max)
    lo, hi = min(max(int(minval), least), top), min(max(int(maxval), least), top)
    span = 1 if hi <= lo else hi - lo + (int(maxval) > top)
    lengths = _dims("randint", shape)
    high, low = (_bits("randint", row, lengths) for row in split(k))
    offset = low
    if span < 2**32:
        factor = ((2**16 % span) ** 2 % 2**32) % span  # products wrap, as in JAX
        offset = (high % span * factor + low % span) % span
    return make((offset + (lo & 0xFFFFFFFF)).cast(kind))


def bernoulli(k: Any, p: Any = 0.5, shape: int | Sequence[int] | None = None) -> Array:
    """True with probability p; of p's shape unless said otherwise."""
    chance = asarray(p)
    if not chance.dtype.is_float:
        chance = chance.astype(dtypes.float32)
    lengths = chance.shape if shape is None else shape
    return uniform(k, lengths, chance.dtype) < chance


def exponential(k: Any, shape: int | Sequence[int] = (), dtype: Any = None) -> Array:
    """Floats of density exp(-x), x >= 0."""
    return -anp.log1p(-uniform(k, shape, _float_dtype("exponential", dtype)))


def gumbel(k: Any, shape: int | Sequence[int] = (), dtype: Any = None) -> Array:
    """Floats of density exp(-x - exp(-x))."""
    kind = _float_dtype("gumbel", dtype)
    tiny = 2.0**-14 if kind is dtypes.float16 else 2.0**-126
    return -anp.log(-anp.log(uniform(k, shape, kind, minval=tiny)))


def categorical(k: Any, logits: Any, axis: int = -1,
                shape: Sequence[int] | None = None) -> Array:  # fmt: skip
    """Indices drawn with probabilities softmax(logits) along `axis`; int32.

    `shape`: the result's, ending in that of logits without `axis`; that alone if not given.
    """
    a = asarray(logits)
    axis = canonical_axis("categorical", a, axis)
    batch = (*a.shape[:axis], *a.shape[axis + 1 :])
    lengths = batch if shape is None else _dims("categorical", shape)
    lead = lengths[: len(lengths) - len(batch)]
    if lengths[len(lead) :] != batch:
        raise ValueError(f"categorical: shape {show_shape(lengths)} must end in "
                         f"{show_shape(batch)}, that of logits without axis {axis}")  # fmt: skip
    noise = gumbel(k, (*lead, *a.shape), a.dtype if a.dtype.is_float else None)
    return anp.argmax(noise + a, axis=len(lead) + axis)


def permutation(k: Any, x: Any, axis: int = 0, independent: bool = False) -> Array:
    """The numbers below x, or the slices of an array x along `axis`, in random order.

    `independent`: every line along `axis` in an order of its own.
    """
    if is_integer(x):
        return _shuffled(k, anp.arange(x), 0)
    a = asarray(x)
    axis = canonical_axis("permutation", a, axis)
    if independent or a.ndim == 1:
        return _shuffled(k, a, axis)
    return anp.take(a, _shuffled(k, anp.arange(a.shape[axis]), 0), axis, mode="clip")


def _shuffled(k: Any, x: Array, axis: int) -> Array:
    """Sorted by random keys, in enough rounds that equal keys leave no bias worth the name."""
    for _ in range(math.ceil(3 * math.log(max(1, x.size)) / math.log(2**32 - 1))):
        k, subkey = split(k)
        order = anp.argsort(bits(subkey, x.shape), axis)
        x = make(x.uop.gather(order.uop, axis))
    return x


def choice(k: Any, a: Any, shape: int | Sequence[int] = (), replace: bool = True,
           axis: int = 0) -> Array:  # fmt: skip
    """Numbers below a, or slices of an array a along `axis`, drawn with equal chances."""
    lengths = _dims("choice", shape)
    source = anp.arange(a) if is_integer(a) else asarray(a)
    axis = canonical_axis("choice", source, axis)
    n, drawn = source.shape[axis], math.prod(lengths)
    if n <= 0 < drawn:
        raise ValueError("choice: a is empty")
    if replace:
        return anp.take(source, randint(k, lengths, 0, n), axis, mode="clip")
    if drawn > n:
        raise ValueError(f"choice: cannot draw {drawn} of {n} without replacement")
    mixed = permutation(k, source, axis)[(*[slice(None)] * axis, slice(drawn))]
    return anp.reshape(mixed, (*source.shape[:axis], *lengths, *source.shape[axis + 1 :]))
