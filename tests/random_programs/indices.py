"""Indices that the program makes itself, and what it takes and updates by them: several results
of one program share values, indices among them."""

from __future__ import annotations

from tests.random_programs.builder import Builder
from tests.random_programs.choices import Choices


def indices(c: Choices) -> str:
    """A few values, indices made from them, things indexed, and the indices of these again."""
    b = Builder(c)
    m, n = c.number(1, 6), c.number(1, 7)
    kind = c.pick(("distinct", "quarters", "normal"))
    values = [b.input(f"data.{kind}({c.number(0, 99)}, {m}, {n})")]
    if c.chance(3):
        values.append(b.input(f"data.distinct({c.number(0, 99)}, {n}, {m})"))
    made: list[str] = []
    for _ in range(c.number(1, 5)):
        x = _value(b, values)
        index = _index(b, x, made)
        if index is None:
            continue
        made.append(index)
        out = _used(b, c.pick(values), index)
        if out is not None:
            values.append(out)
    outputs = [values[-1], *c.some([*made, *values[:-1]])]
    smooth = kind == "normal" and not any("distinct" in t for t in b.inputs.values())
    return b.script(outputs, c.pick(("jit", "eager", "grad") if smooth else ("jit", "eager")))


def _value(b: Builder, values: list[str]) -> str:
    """One of the values, or something computed from it."""
    c = b.c
    x: str = c.pick(values)
    kind = c.number(0, 6)
    other = [y for y in values if b[y].ndim == 2 and b[x].ndim == 2
             and b[y].shape[0] == b[x].shape[1]]  # fmt: skip
    if kind == 6 and other:
        made = b.let(f"xp.matmul({x}, {c.pick(other)})")
    else:
        text = {1: "xp.negative({})", 2: "xp.sum({}, 0)", 3: "xp.softmax({})", 4: "xp.max({}, -1)",
                5: "xp.cumsum({}, 0)"}.get(kind)  # fmt: skip
        made = b.let(text.format(x), "softmax" not in text) if text and b[x].ndim else None
    if made is None:
        return x
    values.append(made)
    return made


def _is_clear(b: Builder, x: str) -> bool:
    """Whether rounding changes no order: exact values, or ones that are far apart."""
    flat = sorted(b[x].reshape(-1).astype(float).tolist())
    apart = all(q - p > 1e-3 for p, q in zip(flat, flat[1:], strict=False))
    return b[x].dtype.kind in "iu" or x in b.exact or apart


def _index(b: Builder, x: str, made: list[str]) -> str | None:
    """Integers from values, by order or by conversion, or from other indices."""
    c = b.c
    if not b[x].ndim or not b[x].size:
        return None
    axis = c.number(0, b[x].ndim - 1)
    kind = c.number(0, 6)
    if kind == 6 and made:
        return b.let(f"xp.add({c.pick(made)}, {c.number(-2, 2)})")
    if kind <= 3 and _is_clear(b, x):
        how = ("argmax", "argsort", "argmin", "argsort")[kind]
        return b.let(f"xp.{how}({x}, {axis})")
    if x not in b.exact:
        return None
    whole = b.let(f"xp.astype(xp.floor({x}), 'int32')") if b[x].dtype.kind == "f" else x
    if whole is not None and kind == 5:
        whole = b.let(f"xp.cumsum({whole}, {axis})")
    if whole is not None and c.chance(2):
        whole = b.let(f"xp.remainder({whole}, {b[x].shape[axis]})")
    return whole


def _used(b: Builder, x: str, i: str) -> str | None:
    """x indexed or updated by i."""
    c = b.c
    if not b[x].ndim or not b[i].size or not b[x].size:
        return None
    axis = c.number(0, b[x].ndim - 1)
    kind = c.number(0, 5)
    if kind == 0:
        return b.let(f"xp.getitem({x}, {i})")
    if kind == 1:
        mode = c.pick(("clip", "wrap"))
        return b.let(f"xp.take({x}, {i}, {axis}, mode={mode!r})")
    if kind == 2 and b[i].ndim == b[x].ndim:
        shape = [d for k, d in enumerate(b[i].shape) if k != axis]
        if shape == [d for k, d in enumerate(b[x].shape) if k != axis]:
            return b.let(f"xp.take_along_axis({x}, {i}, {axis}, mode='clip')")
    if kind == 2 and b[i].ndim == b[x].ndim - 1:
        shape = [d for k, d in enumerate(b[x].shape) if k != axis]
        if shape == list(b[i].shape):
            at = f"xp.expand_dims({i}, {axis})"
            return b.let(f"xp.take_along_axis({x}, {at}, {axis}, mode='clip')")
    if kind == 3:
        n = max(1, int(b[i].max()) + 1)
        return b.let(f"xp.one_hot({i}, {n})") if n <= 8 else None
    how = c.pick(("set", "add", "max", "min", "multiply"))
    key = i if axis == 0 else f"({'slice(None), ' * axis}{i})"
    target = b[x].shape[:axis] + b[i].shape + b[x].shape[axis + 1 :]
    partners = [y for y in b.names("f" if b[x].dtype.kind == "f" else "i")
                if b[y].shape == target]  # fmt: skip
    if how in ("set", "add") and partners and c.chance(2):
        return b.let(f"xp.at_{how}({x}, {key}, {c.pick(partners)})")
    return b.let(f"xp.at_{how}({x}, {key}, {c.number(1, 3)})")
