"""A bounded memo that several threads may use: what was asked for least recently goes first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Memo(Generic[K, V]):
    """Up to `most` values by key.

    >>> squares: Memo[int, int] = Memo(2)
    >>> for n in (1, 2, 3):
    ...     _ = squares.get(n, lambda: n * n)
    >>> len(squares), squares.find(1), squares.find(3)
    (2, None, 9)
    """

    __slots__ = ("_lock", "_most", "_values")

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.RLock()  # a finalizer may ask in the midst of another question

    def __len__(self) -> int:
        return len(self._values)

    def find(self, key: K) -> V | None:
        """The value of `key`, if it is there."""
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def keep(self, key: K, value: V) -> V:
        """The value of `key`: `value`, unless another thread was first."""
        with self._lock:
            value = self._values.setdefault(key, value)
            self._values.move_to_end(key)
            while len(self._values) > self._most:
                self._values.popitem(last=False)
            return value

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The value of `key`, which `make` gives at first. Threads that ask at once may both make
        one, and get the same."""
        value = self.find(key)
        return self.keep(key, make()) if value is None else value

    def clear(self) -> None:
        """Forgets all."""
        with self._lock:
            self._values.clear()
