"""Reductions of reductions, 100,000 elements and more: lengths about powers of two, primes, and
beyond 65,535."""

from __future__ import annotations

import numpy as np

from tests.random_programs.builder import Builder
from tests.random_programs.choices import Choices

_SIDES = (256, 257, 255, 251, 400, 509, 512, 1000, 1021)
_LINES = (65536, 65535, 65537, 65539, 100003, 131072, 200000, 300007)
_FEW = (1, 2, 3, 4, 5, 8)
_MOST = 700_000


def reductions(c: Choices) -> str:
    """Two or three reductions with elementwise work between them, or a loss of logits."""
    b = Builder(c, _MOST)
    makers = (_nested, _nested, _nested, _of_product, _cross_entropy)
    outputs = c.pick(makers)(b)
    how = c.pick(("jit", "eager", "grad") if _is_smooth(b) else ("jit", "eager"))
    return b.script(outputs, how, tolerance=1e-4)


def _is_smooth(b: Builder) -> bool:
    return not any("arg" in text or "prod" in text for _, text in b.steps)


def _shape(c: Choices) -> tuple[int, ...]:
    """100,000 elements or so in one to three axes, in any order."""
    first = c.pick(_SIDES) if not c.chance(3) else c.pick(_LINES)
    rest = -(-c.pick((100_000, 65_536, 150_000, 300_000)) // first)
    dims = [first, min(rest, _MOST // first)]
    if c.chance(3):
        n = c.pick(_FEW)
        dims = [first, n, max(1, dims[1] // n)]
    return tuple(c.shuffled(dims))


def _nested(b: Builder) -> list[str]:
    c = b.c
    shape = _shape(c)
    args = ", ".join(map(str, shape))
    x = b.input(f"data.spread({c.number(0, 99)}, {args})")
    x = _elementwise(b, x)
    kept = [x]
    for _ in range(c.number(2, 3)):
        if b[x].ndim:
            x = _reduced(b, x)
            kept.append(x)
            x = _between(b, x, kept[0])
    return [x, *c.some(kept[1:])]


def _elementwise(b: Builder, x: str) -> str:
    """Nothing, or something of x alone or of x and another input."""
    c = b.c
    kind = c.number(0, 6)
    if kind == 1:
        args = ", ".join(map(str, b[x].shape))
        y = b.input(f"data.positive({c.number(0, 99)}, {args})")
        return b.let(f"xp.multiply({x}, {y})") or x
    if kind == 2:
        y = b.input(f"data.positive({c.number(0, 99)}, {b[x].shape[-1]})")
        return b.let(f"xp.add({x}, {y})") or x
    text = {3: f"xp.square({x})", 4: f"xp.sin({x})", 5: f"xp.exp(xp.negative({x}))",
            6: f"xp.tanh(xp.subtract({x}, 0.5))"}.get(kind)  # fmt: skip
    return (b.let(text) if text else None) or x


def _reduced(b: Builder, x: str) -> str:
    """A reduction over one or several axes."""
    c = b.c
    axes = tuple(c.some(range(b[x].ndim))) or (b[x].ndim - 1,)
    axis = axes[0] if len(axes) == 1 else axes
    how = c.pick(("sum", "max", "min", "mean", "var", "logsumexp", "std", "mean"))
    if how in ("var", "std") and not _is_spread(b, x, axes):
        how = "mean"
    keep = ", keepdims=True" if c.chance(5) else ""
    return b.let(f"xp.{how}({x}, {axis}{keep})") or x


def _is_spread(b: Builder, x: str, axes: tuple[int, ...]) -> bool:
    """Whether values differ by more than rounding makes of them: their variance is well defined."""
    value = b[x].astype(np.float64)
    return bool(np.all(value.std(axes) > 0.02 * np.abs(value).max(axes)))


def _between(b: Builder, x: str, whole: str) -> str:
    """Nothing, something of the reduction, or the whole less the reduction."""
    c = b.c
    kind = c.number(0, 5)
    if kind == 5 and b[x].shape == b[whole].shape[1:] and b[x].ndim:
        y = b.let(f"xp.subtract({whole}, {x})")
        return (b.let(f"xp.square({y})") if y else None) or x
    text = {1: f"xp.square({x})", 2: f"xp.add({x}, 1.0)", 3: f"xp.log(xp.add(xp.abs({x}), 1.0))",
            4: f"xp.multiply({x}, 0.5)"}.get(kind)  # fmt: skip
    return (b.let(text) if text else None) or x


def _of_product(b: Builder) -> list[str]:
    """Something of a matrix product, reduced: products in all are what is many."""
    c = b.c
    m, k, n = (c.pick((47, 60, 64, 61, 97, 128, 31)) for _ in range(3))
    x = b.input(f"data.positive({c.number(0, 99)}, {m}, {k})")
    y = b.input(f"data.positive({c.number(0, 99)}, {k}, {n})")
    z = b.let(f"xp.matmul({x}, {y})") or x
    squared = b.let(c.pick(("xp.square({})", "xp.multiply({}, 0.01)")).format(z)) or z
    r = _reduced(b, squared)
    return [_reduced(b, r) if b[r].ndim else r, *c.some([z, r])]


def _cross_entropy(b: Builder) -> list[str]:
    c = b.c
    n, classes = c.pick(((128, 1000), (100, 1009), (257, 401), (64, 2048), (1024, 101)))
    x = b.input(f"data.normal({c.number(0, 99)}, {n}, {classes})")
    y = b.input(f"data.integers({c.number(0, 99)}, 0, {classes - 1}, {n})")
    logits = b.let(f"xp.multiply({x}, 3.0)") if c.chance(2) else x
    loss = b.let(f"xp.cross_entropy({logits}, {y})")
    other = b.let(f"xp.mean(xp.logsumexp({logits}, -1))")
    return [n for n in (loss, *c.some([other])) if n]
