"""Programs of many arguments and several results where a kernel may bind few buffers, with
donation."""

from __future__ import annotations

from tests.random_programs.builder import Builder
from tests.random_programs.choices import Choices

_LIMITS = (4, 5, 6, 7, 8, 10, 12, 16, 24, 31, 32)


def buffers(c: Choices) -> str:
    """About as many arguments as a kernel may bind, or more, in results that share them."""
    b = Builder(c)
    limit = c.pick(_LIMITS)
    n = max(2, min(limit + c.number(-3, 4), 34) if not c.chance(4) else 2 * limit)
    shape = c.pick(("4", "3, 2", "1", "5, 3"))
    for k in range(n):
        kind = c.pick(("quarters", "quarters", "quarters", "normal")) if n < 12 else "quarters"
        b.input(f"data.{kind}({k}, {shape})")
    names = list(b.inputs)
    outputs = [_combined(b, names) for _ in range(c.number(1, 5))]
    outputs += [name for name in c.some(names[:3]) if c.chance(3)]
    outputs = list(dict.fromkeys(outputs))
    inputs, _ = b.needed(outputs)
    donate = [i for i in range(len(inputs)) if c.chance(3)] if c.chance(2) else []
    return b.script(outputs, "jit", donate=donate, most_buffers=limit)


def _combined(b: Builder, names: list[str]) -> str:
    """A chain over a part of the values, perhaps reduced, perhaps met by another."""
    c = b.c
    first, last = sorted((c.number(0, len(names) - 1), c.number(0, len(names) - 1)))
    part = names if c.chance(2) else names[first : last + 1]
    ops = c.pick((("add",), ("maximum",), ("add", "maximum", "minimum"), ("subtract", "add"),
                  ("multiply",)))  # fmt: skip
    out = part[0]
    for name in part[1:]:
        op = c.pick(ops)
        scaled = f"xp.{op}({out}, {name})"
        if op == "multiply":  # kept small
            scaled = f"xp.minimum(xp.maximum({scaled}, -3.0), 3.0)"
        out = b.let(scaled) or out
    if b[out].ndim and c.chance(3):
        how = c.pick(("sum", "max", "min"))
        total = b.let(f"xp.{how}({out}, {c.number(0, b[out].ndim - 1)}, keepdims=True)") or out
        less = b.let(f"xp.subtract({c.pick(names)}, {total})") if c.chance(2) else None
        out = less or total
    known = [n for n, _ in b.steps]
    if known and c.chance(2):
        how = c.pick(("multiply", "subtract"))
        out = b.let(f"xp.{how}({out}, {c.pick([*names, *known])})") or out
    return out
