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
    n = max(2, min(limit + c.pick((0, 1, 2, 3, -1, -2, -3, limit)), 36))
    shape = c.pick(("4", "3, 2", "1", "5, 3"))
    for k in range(n):
        kind = c.pick(("quarters", "quarters", "quarters", "normal")) if n < 12 else "quarters"
        b.input(f"data.{kind}({k}, {shape})")
    names = list(b.inputs)
    if c.chance(2):
        outputs = _of_folds(b, names, limit)
    else:
        outputs = [_combined(b, names) for _ in range(c.number(1, 5))]
    outputs += [name for name in c.some(names[:3]) if c.chance(3)]
    outputs = list(dict.fromkeys(outputs))
    inputs, _ = b.needed(outputs)
    donate = [i for i in range(len(inputs)) if c.chance(3)] if c.chance(2) else []
    return b.script(outputs, "jit", donate=donate, most_buffers=limit)


def _folded(b: Builder, part: list[str], ops: tuple[str, ...]) -> str:
    """One value after the other into the first."""
    out = part[0]
    for name in part[1:]:
        op = b.c.pick(ops) if len(ops) > 1 else ops[0]
        text = f"xp.{op}({out}, {name})"
        if op == "multiply":  # kept small
            text = f"xp.minimum(xp.maximum({text}, -3.0), 3.0)"
        out = b.let(text) or out
    return out


def _of_folds(b: Builder, names: list[str], limit: int) -> list[str]:
    """Results that share two or three folds over about as many values as a kernel may read, some
    with a value that is in none of them."""
    c = b.c
    part = names[: max(2, limit - c.pick((1, 1, 0, 2)))]
    folds = [_folded(b, part, (c.pick(("add", "multiply", "maximum", "subtract")),))
             for _ in range(c.number(2, 3))]  # fmt: skip
    pairs = [(folds[0], folds[1])]
    for _ in range(c.number(1, 3)):
        pairs.append((c.pick(folds), c.pick(folds if c.chance(3) else names[-2:])))
    outputs = []
    for x, y in pairs:
        made = b.let(f"xp.{c.pick(('subtract', 'multiply', 'add'))}({x}, {y})") or x
        if c.chance(5):
            made = b.let(f"xp.sum({made}, 0)") or made
        outputs.append(made)
    return outputs


def _combined(b: Builder, names: list[str]) -> str:
    """A chain over a part of the values, perhaps reduced, perhaps met by another."""
    c = b.c
    first, last = sorted((c.number(0, len(names) - 1), c.number(0, len(names) - 1)))
    part = names if c.chance(2) else names[first : last + 1]
    ops = c.pick((("add",), ("maximum",), ("add", "maximum", "minimum"), ("subtract", "add"),
                  ("multiply",)))  # fmt: skip
    out = _folded(b, part, ops)
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
