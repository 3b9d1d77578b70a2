"""Element types: what a UOp's value is made of, and JAX's promotion between them.

Standard library only. `index` is the type of loop counters, dimensions and addresses: integers
that never wrap, so arithmetic on them may be simplified as over the integers. Everything else
wraps (integers) or rounds (floats) as the hardware does. Effects have no value: `void`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["b", "i", "u", "f", "v"]


@dataclass(frozen=True, slots=True, eq=False)
class DType:
    """One element type; instances are singletons, compared with `is`."""

    name: str
    kind: Kind
    bits: int

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[object, ...]:
        return (by_name, (self.name,))

    @property
    def itemsize(self) -> int:
        """Bytes of one element on the host."""
        return max(self.bits // 8, 1)

    @property
    def is_float(self) -> bool:
        return self.kind == "f"

    @property
    def is_int(self) -> bool:
        return self.kind in "iu"

    @property
    def min(self) -> int | float:
        """The least finite-or-infinite value: -inf for floats, 0 for bool."""
        if self.kind == "f":
            return float("-inf")
        return -(1 << (self.bits - 1)) if self.kind == "i" else 0

    @property
    def max(self) -> int | float:
        if self.kind == "f":
            return float("inf")
        return (1 << (self.bits - (self.kind == "i"))) - 1


bool_ = DType("bool", "b", 1)
int8 = DType("int8", "i", 8)
int16 = DType("int16", "i", 16)
int32 = DType("int32", "i", 32)
int64 = DType("int64", "i", 64)
uint8 = DType("uint8", "u", 8)
uint16 = DType("uint16", "u", 16)
uint32 = DType("uint32", "u", 32)
uint64 = DType("uint64", "u", 64)
float16 = DType("float16", "f", 16)
bfloat16 = DType("bfloat16", "f", 16)
float32 = DType("float32", "f", 32)
float64 = DType("float64", "f", 64)
index = DType("index", "i", 64)
void = DType("void", "v", 0)

ALL = (bool_, uint8, uint16, uint32, uint64, int8, int16, int32, int64,
       float16, bfloat16, float32, float64)  # fmt: skip
_BY_NAME = {d.name: d for d in (*ALL, index, void)}


def by_name(name: str) -> DType:
    """The DType called `name`, e.g. "float32" or "bool"."""
    try:
        return _BY_NAME[name]
    except KeyError:
        known = ", ".join(d.name for d in ALL)
        raise TypeError(f"unknown dtype {name!r}; known: {known}") from None


# JAX's type promotion lattice (docs: "Type promotion semantics"), as edges to the next types up.
# "i*", "f*" are the weak types of Python's int and float.
_WEAK_INT, _WEAK_FLOAT = "i*", "f*"
_UP: dict[str, tuple[str, ...]] = {
    "bool": ("i*",),
    "i*": ("uint8", "int8"),
    "uint8": ("int16", "uint16"), "uint16": ("int32", "uint32"),
    "uint32": ("int64", "uint64"), "uint64": ("f*",),
    "int8": ("int16",), "int16": ("int32",), "int32": ("int64",), "int64": ("f*",),
    "f*": ("float16", "bfloat16"),
    "float16": ("float32",), "bfloat16": ("float32",), "float32": ("float64",), "float64": (),
}  # fmt: skip


def _closure(name: str) -> frozenset[str]:
    seen: set[str] = set()
    todo = [name]
    while todo:
        n = todo.pop()
        if n not in seen:
            seen.add(n)
            todo.extend(_UP[n])
    return frozenset(seen)


_ABOVE = {n: _closure(n) for n in _UP}


def _node(dtype: DType, weak: bool) -> str:
    if not weak:
        return dtype.name
    return {"b": "bool", "i": _WEAK_INT, "u": _WEAK_INT, "f": _WEAK_FLOAT}[dtype.kind]


def promote(a: DType, a_weak: bool, b: DType, b_weak: bool) -> tuple[DType, bool]:
    """The dtype and weakness of a binary operation's result, by JAX's lattice.

    uint32 with a signed type, and uint64 with any, have no 32-bit join: TypeError.

    >>> promote(int8, False, float32, True)
    (float32, True)
    """
    if a is b:
        return a, a_weak and b_weak
    na, nb = _node(a, a_weak), _node(b, b_weak)
    if na == nb:
        return (a if a.bits >= b.bits else b), True
    common = _ABOVE[na] & _ABOVE[nb]
    least = [n for n in common if common <= _ABOVE[n]]
    name = least[0]
    if name == _WEAK_INT:
        return (a if na == _WEAK_INT else b), True
    if name == _WEAK_FLOAT:
        return (a if na == _WEAK_FLOAT else b if nb == _WEAK_FLOAT else float32), True
    out = _BY_NAME[name]
    if out.bits == 64 and max(a.bits, b.bits) < 64:
        raise TypeError(
            f"no common dtype for {a} and {b} in 32 bits; cast one of them, e.g. x.astype('int32')"
        )
    return out, False
