"""Programs as text, made step by step: each step is run by the reference at once, so that what
comes next knows shapes, dtypes and values."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.random_programs import data, reference
from tests.random_programs.choices import Choices

HEADER = """\
import numpy as np

import anneal
import anneal.numpy as anp
from tests.random_programs import checks, data
"""
# By bytes of a float: below the first, sums and products of multiples of the second are exact.
_EXACT = {8: (2.0**14, 2.0**-6), 4: (2.0**14, 2.0**-6), 2: (2.0**7, 2.0**-2)}
_LARGEST = 1e6

# A name, and the text of what it is.
Step = tuple[str, str]
Lines = Callable[[Sequence[Step]], list[str]]


def is_exact(value: np.ndarray[Any, Any]) -> bool:
    """Whether another step computes with these values without rounding."""
    if value.dtype.kind != "f":
        return True
    largest, step = _EXACT[value.dtype.itemsize]
    return bool(np.all(np.abs(value) < largest) and np.all(value % step == 0))


class Builder:
    """A function's inputs and steps so far."""

    def __init__(self, c: Choices, most_elements: int = 4096) -> None:
        self.c, self.most_elements = c, most_elements
        self.inputs: dict[str, str] = {}
        self.steps: list[Step] = []
        self.values: dict[str, np.ndarray[Any, Any]] = {}
        self.exact: set[str] = set()

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        return self.values[name]

    def input(self, text: str) -> str:
        """An argument of the function, of these data."""
        name = f"x{len(self.inputs)}"
        value = np.asarray(eval(text, {"data": data, "np": np}))
        self.inputs[name] = text
        self.values[name] = value.astype(value.dtype.newbyteorder("="))
        if is_exact(self.values[name]):
            self.exact.add(name)
        return name

    def let(self, text: str, exact: bool = True) -> str | None:
        """A step, `text` in the names of earlier ones; None if its dtypes do not meet or its value
        is too large or not finite. `exact`: exact arguments have exact results, if these are small
        enough."""
        with np.errstate(over="ignore"):
            try:
                value = eval(text, {"xp": reference, "np": np, **self.values})
            except reference.NoCommonDtype:
                return None
            if value.size > self.most_elements or not _is_tame(value):
                return None
        name = f"v{len(self.steps)}"
        self.steps.append((name, text))
        self.values[name] = value
        used = self.used(text)
        if exact and used <= self.exact and is_exact(value):
            self.exact.add(name)
        return name

    def used(self, text: str) -> set[str]:
        return {n for n in re.findall(r"\b[xv]\d+\b", text) if n in self.values}

    def names(self, *kinds: str) -> list[str]:
        """What there is of these kinds of dtypes ("f", "i", "u", "b")."""
        return [n for n, v in self.values.items() if not kinds or v.dtype.kind in kinds]

    def needed(self, outputs: Sequence[str]) -> tuple[list[str], list[Step]]:
        """The inputs and steps that the outputs depend on."""
        live, steps = set(outputs), []
        for name, text in reversed(self.steps):
            if name in live:
                live |= self.used(text)
                steps.append((name, text))
        return [x for x in self.inputs if x in live], steps[::-1]

    def script(self, outputs: Sequence[str], how: str, lines: Lines | None = None,
               **options: Any) -> str:  # fmt: skip
        """The program that checks these outputs: see `checks.agree`. `lines`: steps as text."""
        outputs = list(dict.fromkeys(outputs))
        inputs, steps = self.needed(outputs)
        body = lines(steps) if lines is not None else [f"{name} = {text}" for name, text in steps]
        found = [HEADER, *[f"{x} = {self.inputs[x]}" for x in inputs], "\n"]
        found += [f"def program(xp, {', '.join(inputs)}):", *[f"    {line}" for line in body]]
        found += [f"    return {', '.join(outputs)},", "\n"]
        given = "".join(f", {k}={v!r}" for k, v in options.items())
        found += [f"checks.agree(program, [{', '.join(inputs)}], {how!r}{given})"]
        return "\n".join(found) + "\n"


def _is_tame(value: np.ndarray[Any, Any]) -> bool:
    return value.dtype.kind != "f" or bool(np.all(np.abs(value) < _LARGEST))
