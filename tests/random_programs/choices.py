"""Random choices on record: a program is a function of them, so fewer and smaller choices make a
smaller program, whatever its family. 0 is the simplest choice; after the record come zeros."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any


class Choices:
    """Draws from a record, then from `random`, or zeros without one."""

    def __init__(self, random: Random | None, record: Sequence[int] = ()) -> None:
        self.taken: list[int] = []
        self._random, self._record = random, record

    def number(self, low: int, high: int) -> int:
        """From `low`, the simplest, to `high`."""
        n = len(self.taken)
        if n < len(self._record):
            drawn = min(self._record[n], high - low)
        else:
            drawn = self._random.randint(0, high - low) if self._random else 0
        self.taken.append(drawn)
        return low + drawn

    def pick(self, options: Sequence[Any]) -> Any:
        """One of `options`, the first being the simplest."""
        return options[self.number(0, len(options) - 1)]

    def chance(self, n: int) -> bool:
        """True once in n times."""
        return self.number(0, n - 1) == n - 1

    def some(self, options: Sequence[Any]) -> list[Any]:
        """A part of `options`, in order."""
        return [x for x in options if self.number(0, 1)]

    def shuffled(self, options: Sequence[Any]) -> list[Any]:
        left = list(options)
        return [left.pop(self.number(0, len(left) - 1)) for _ in options]


def shrink(
    record: Sequence[int], fails: Callable[[Choices], bool], seconds: float
) -> Sequence[int]:
    """A shorter record, with smaller numbers, that still fails; what was found within `seconds`."""
    best, end = list(record), time.monotonic() + seconds
    seen: set[tuple[int, ...]] = set()
    while True:
        before = best
        for smaller in _steps:
            at = len(best)
            while at > 0:
                at -= 1
                for candidate in smaller(best, at):
                    if time.monotonic() > end:
                        return best
                    if tuple(candidate) in seen:
                        continue
                    seen.add(tuple(candidate))
                    c = Choices(None, candidate)
                    if fails(c) and _size(c.taken) < _size(best):
                        best = c.taken
                        at = min(at, len(best))
                        break
        if best == before:
            return best


def _size(record: Sequence[int]) -> tuple[int, Sequence[int]]:
    return len(record), record


def _without(record: list[int], at: int) -> Iterator[list[int]]:
    for n in (16, 4, 2, 1):
        if at + n <= len(record):
            yield record[:at] + record[at + n :]


def _lower(record: list[int], at: int) -> Iterator[list[int]]:
    if at < len(record):
        for value in sorted({0, record[at] // 2, record[at] - 1} - {record[at], -1}):
            yield [*record[:at], value, *record[at + 1 :]]


_steps = (_without, _lower)
