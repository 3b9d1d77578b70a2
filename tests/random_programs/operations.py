"""anneal.numpy's functions one after another on small arrays of all dtypes."""

from __future__ import annotations

from tests.random_programs.builder import Builder
from tests.random_programs.choices import Choices

_DIMS = (2, 3, 1, 4, 5, 0)
_SMOOTH = (
    "xp.exp(xp.minimum({x}, 5.0))", "xp.log(xp.add(xp.abs({x}), 0.5))", "xp.sin({x})",
    "xp.cos({x})", "xp.tanh({x})", "xp.sqrt(xp.add(xp.abs({x}), 0.5))", "xp.square({x})",
    "xp.expm1(xp.minimum({x}, 3.0))", "xp.log1p(xp.abs({x}))", "xp.exp2(xp.minimum({x}, 5.0))",
    "xp.sigmoid({x})", "xp.softplus({x})", "xp.reciprocal(xp.add(xp.abs({x}), 1.0))",
    "xp.sinh(xp.clip({x}, -3.0, 3.0))", "xp.cosh(xp.clip({x}, -3.0, 3.0))",
    "xp.log2(xp.add(xp.abs({x}), 0.5))", "xp.log10(xp.add(xp.abs({x}), 0.5))",
    "xp.softmax({x}, {axis})", "xp.logsumexp({x}, {axis})", "xp.log_softmax({x}, {axis})",
    "xp.var({x}, {axis})", "xp.mean({x}, {axis})", "xp.negative({x})", "xp.abs({x})",
)  # fmt: skip
_SMOOTH_BINARY = (
    "xp.add({x}, {y})", "xp.subtract({x}, {y})", "xp.multiply({x}, {y})", "xp.maximum({x}, {y})",
    "xp.minimum({x}, {y})", "xp.true_divide({x}, xp.add(xp.abs({y}), 1.0))",
    "xp.logaddexp({x}, {y})", "xp.hypot({x}, xp.add(xp.abs({y}), 0.5))",
)  # fmt: skip
_EXACT = {
    "f": ("xp.floor({x})", "xp.ceil({x})", "xp.trunc({x})", "xp.isnan({x})", "xp.isfinite({x})",
          "xp.remainder({x}, 0.75)", "xp.floor_divide({x}, 0.75)", "xp.remainder({x}, -2.0)"),
    "i": ("xp.invert({x})", "xp.power({x}, 2)", "xp.remainder({x}, 3)", "xp.floor_divide({x}, 3)",
          "xp.left_shift({x}, 2)", "xp.right_shift({x}, 1)"),
    "u": ("xp.invert({x})", "xp.remainder({x}, 3)", "xp.floor_divide({x}, 3)"),
    "b": ("xp.logical_not({x})", "xp.invert({x})"),
}  # fmt: skip
_EXACT_ANY = ("xp.abs({x})", "xp.negative({x})", "xp.sign({x})", "xp.square({x})",
              "xp.multiply({x}, 2)", "xp.add({x}, 1)", "xp.add({x}, 0.25)",
              "xp.multiply({x}, -1)", "xp.clip({x}, 0, 2)")  # fmt: skip
_ARITHMETIC = ("add", "subtract", "multiply", "maximum", "minimum", "equal", "not_equal", "less",
               "less_equal", "greater", "greater_equal", "logical_and", "logical_or",
               "logical_xor")  # fmt: skip
_INTEGER = ("bitwise_and", "bitwise_or", "bitwise_xor", "floor_divide", "remainder")
_MOVES = (
    "xp.flip({x}, {axis})", "xp.roll({x}, {n}, {axis})", "xp.swapaxes({x}, {axis}, -1)",
    "xp.transpose({x})", "xp.reshape({x}, -1)", "xp.expand_dims({x}, {axis})",
    "xp.moveaxis({x}, {axis}, 0)", "xp.repeat({x}, 2, {axis})", "xp.tile({x}, 2)",
    "xp.concatenate([{x}, {x}], {axis})", "xp.stack([{x}, {x}], {axis})",
    "xp.getitem({x}, slice(None, None, {step}))", "xp.getitem({x}, (..., slice({n}, None)))",
    "xp.getitem({x}, (..., slice(None, None, {step})))", "xp.getitem({x}, (..., None))",
    "xp.getitem({x}, slice(-{n}, None, {step}))",
)  # fmt: skip
_MATRIX_MOVES = ("xp.tril({x}, {k})", "xp.triu({x}, {k})", "xp.diagonal({x}, {k})",
                 "xp.rot90({x}, {n})")  # fmt: skip
_REDUCTIONS = ("sum", "prod", "any", "all", "cumsum", "cumprod")
_ORDERS = ("max", "min", "argmax", "argmin", "argsort", "sort")


def operations(c: Choices) -> str:
    """Exact values through everything, or floats through smooth functions and their gradients."""
    b = Builder(c, 200)
    smooth = steps(c, b)
    names = b.names()
    outputs = [names[-1], *c.some(names[-4:-1])]
    return b.script(outputs, c.pick(("jit", "eager", "grad") if smooth else ("jit", "eager")))


def steps(c: Choices, b: Builder) -> bool:
    """Makes inputs and steps; whether these are smooth."""
    smooth = c.chance(2)
    dtypes = ("float32",) if smooth else ("float32", "int32", "bool", "uint32", "float16", "int8",
                                          "uint8", "int16", "uint16")  # fmt: skip
    for _ in range(c.number(1, 3)):
        _new_input(b, c.pick(dtypes), smooth)
    for _ in range(c.number(1, 9)):
        x = c.pick(b.names())
        (_smooth_step if smooth else _exact_step)(b, x, dtypes)
    return smooth


def _new_input(b: Builder, dtype: str, smooth: bool, shape: tuple[int, ...] | None = None) -> str:
    c = b.c
    if shape is None:
        shape = tuple(c.pick(_DIMS[:-1] if smooth or not c.chance(6) else _DIMS)
                      for _ in range(c.number(0, 3)))  # fmt: skip
    args, seed = "".join(f", {d}" for d in shape), c.number(0, 99)
    if smooth:
        return b.input(f"data.normal({seed}{args})")
    if dtype == "bool":
        return b.input(f"data.bools({seed}{args})")
    if dtype.startswith("float"):
        return b.input(f"data.quarters({seed}{args}, dtype={dtype!r})")
    low, high = (0, 9) if dtype.startswith("u") else (-9, 9)
    return b.input(f"data.integers({seed}, {low}, {high}{args}, dtype={dtype!r})")


def _partner(b: Builder, x: str, dtypes: tuple[str, ...], smooth: bool) -> str:
    """Something that broadcasts with x: what there is, or a new input."""
    c = b.c
    known = [n for n in b.names() if _broadcasts(b[n].shape, b[x].shape)]
    if not smooth:
        known = [n for n in known if n in b.exact]
    if known and (len(b.inputs) > 5 or not c.chance(3)):
        return str(c.pick(known))
    shape = tuple(1 if c.chance(4) else d for d in b[x].shape)
    return _new_input(b, c.pick(dtypes), smooth, shape[c.number(0, len(shape)) :])


def _broadcasts(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return all(p == q or 1 in (p, q) for p, q in zip(a[::-1], b[::-1], strict=False))


def _filled(b: Builder, text: str, x: str, y: str = "") -> str | None:
    """A template with its numbers chosen."""
    c, ndim = b.c, b[x].ndim
    if not ndim and ("{axis}" in text or "slice" in text):
        return None
    return b.let(text.format(x=x, y=y, axis=c.number(0, ndim - 1) if ndim else 0,
                             n=c.number(1, 3), k=c.number(-1, 1),
                             step=c.pick((1, 2, -1, 3, -2))))  # fmt: skip


def _smooth_step(b: Builder, x: str, dtypes: tuple[str, ...]) -> None:
    c = b.c
    kind = c.number(0, 4)
    if kind == 0:
        _filled(b, c.pick(_SMOOTH), x)
    elif kind in (1, 2):
        _filled(b, c.pick(_SMOOTH_BINARY), x, _partner(b, x, dtypes, True))
    elif kind == 3:
        _move(b, x)
    else:
        _matmul(b, x, True) if c.chance(2) else _filled(b, "xp.sum({x}, {axis})", x)


def _exact_step(b: Builder, x: str, dtypes: tuple[str, ...]) -> None:
    c = b.c
    if x not in b.exact:
        _move(b, x)
        return
    kind = c.number(0, 7)
    y = _partner(b, x, dtypes, False) if kind in (1, 2, 3) else x
    if kind == 0:
        texts = (*_EXACT[b[x].dtype.kind], *(_EXACT_ANY if b[x].dtype.kind != "b" else ()))
        _filled(b, c.pick(texts), x)
    elif kind == 1:
        both = "b" not in (b[x].dtype.kind, b[y].dtype.kind)
        _filled(b, f"xp.{c.pick(_ARITHMETIC if both else _ARITHMETIC[3:])}({{x}}, {{y}})", x, y)
    elif kind == 2 and "f" not in (b[x].dtype.kind, b[y].dtype.kind):
        numbers = "b" not in (b[x].dtype.kind, b[y].dtype.kind)
        op = c.pick(_INTEGER if numbers else _INTEGER[:3])
        divisor = "xp.add(xp.multiply({y}, {y}), 1)" if op in _INTEGER[3:] else "{y}"
        _filled(b, f"xp.{op}({{x}}, {divisor})", x, y)
    elif kind == 3:
        p = c.pick(b.names("b") or [x])
        if _broadcasts(b[p].shape, b[x].shape) and _broadcasts(b[p].shape, b[y].shape):
            b.let(f"xp.where({p if b[p].dtype.kind == 'b' else f'xp.greater({p}, 0)'}, {x}, {y})")
    elif kind == 4:
        _move(b, x)
    elif kind == 5:
        _reduce(b, x)
    elif kind == 6:
        _cast(b, x, dtypes)
    else:
        _matmul(b, x, False)


def _move(b: Builder, x: str) -> None:
    c = b.c
    if b[x].ndim == 2 and c.chance(3):
        _filled(b, c.pick(_MATRIX_MOVES), x)
    elif b[x].size:
        _filled(b, c.pick(_MOVES), x)


def _reduce(b: Builder, x: str) -> None:
    c = b.c
    if not b[x].ndim:
        return
    axis = c.number(0, b[x].ndim - 1)
    if c.chance(2) and b[x].shape[axis] and b[x].dtype.kind != "b":
        b.let(f"xp.{c.pick(_ORDERS)}({x}, {axis})")
    else:
        b.let(f"xp.{c.pick(_REDUCTIONS)}({x}, {axis})")


def _cast(b: Builder, x: str, dtypes: tuple[str, ...]) -> None:
    """To a dtype that holds the values."""
    dtype = b.c.pick(dtypes)
    bounds = {"int8": (-100, 100), "uint8": (0, 200), "bool": (0, 1), "float16": (-99, 99),
              "uint16": (0, 9999), "uint32": (0, 9999)}.get(dtype, (-9999, 9999))  # fmt: skip
    value = b[x]
    if value.size and not (bounds[0] <= value.min() and value.max() <= bounds[1]):
        return
    b.let(f"xp.astype({x}, {dtype!r})")


def _matmul(b: Builder, x: str, smooth: bool) -> None:
    c = b.c
    names = b.names() if smooth else [n for n in b.names() if n in b.exact]
    known = [n for n in names if b[n].ndim in (1, 2) and b[n].dtype.kind != "b"]
    known = [n for n in known if b[x].ndim and b[n].shape[0] == b[x].shape[-1]]
    if known and b[x].dtype.kind != "b":
        b.let(f"xp.matmul({x}, {c.pick(known)})")
