"""Parts of a program in functions of their own, jitted or checkpointed, that are given some of what
they read and close over the rest; functions in functions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from tests.random_programs.builder import Builder, Step
from tests.random_programs.choices import Choices
from tests.random_programs.operations import steps

_KINDS = ("jit", "checkpoint", "jit of checkpoint", "checkpoint of jit")


def calls(c: Choices) -> str:
    """What `operations` makes, in functions."""
    b = Builder(c, 200)
    smooth = steps(c, b)
    names = b.names()
    outputs = [names[-1], *c.some(names[-4:-1])]
    numbers = itertools.count()
    return b.script(outputs, c.pick(("jit", "grad", "eager") if smooth else ("jit", "eager")),
                    lines=lambda made: _lines(b, made, outputs, numbers, 0))  # fmt: skip


def _lines(
    b: Builder, made: Sequence[Step], wanted: Sequence[str], numbers: Iterator[int], depth: int
) -> list[str]:
    """Steps as lines, some of them in functions, where `wanted` is read later."""
    c, lines = b.c, list[str]()
    while made:
        if depth > 2 or c.chance(3):
            lines.append("{} = {}".format(*made[0]))
            made = made[1:]
            continue
        n = c.number(1, len(made))
        part, made = made[:n], made[n:]
        names = [name for name, _ in part]
        later = {x for _, text in made for x in b.used(text)} | set(wanted)
        results = [x for x in names if x in later] or names
        read = dict.fromkeys(x for _, text in part for x in sorted(b.used(text)) if x not in names)
        given = c.some(list(read))
        f = f"part{next(numbers)}"
        lines.append(f"def {f}({', '.join(given)}):")
        lines += [f"    {line}" for line in _lines(b, part, results, numbers, depth + 1)]
        lines.append(f"    return {', '.join(results)},")
        call = ", ".join([repr(c.pick(_KINDS)), f, *given])
        lines.append(f"{', '.join(results)}, = xp.called({call})")
    return lines
