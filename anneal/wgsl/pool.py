"""Memory of a device: buffers are made, lent, kept free for the next who asks, and destroyed.

Free buffers lie on shelves: a result's own, so that the next call of a program finds, and binds,
the same one; or that of its size. What lies there is bounded, and the longest there goes first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

from anneal.stats import count

# Free bytes kept at least; more while more than that is in use, for the next step of a program
# wants as much again.
KEPT_BYTES = 256 << 20
# Buffers kept for each result of a program: one that is read while the next is made.
_MOST_ON_A_SHELF = 2
# What comes back is put away at once when it is much, else some together.
_LITTLE_BYTES, _FEW = 1 << 20, 64


class Pool:
    """Buffers that `create(nbytes)` makes; they have `size` and `destroy()`."""

    def __init__(self, create: Callable[[int], Any]) -> None:
        self._create = create
        self._lock = threading.Lock()
        self._by_size: dict[int, list[Any]] = {}
        # Every free buffer with the shelf that it lies on, the longest there first.
        self._free: OrderedDict[int, tuple[Any, list[Any]]] = OrderedDict()
        self._returned: deque[tuple[Any, list[Any] | None]] = deque()
        # What is lent is held here as well: a buffer that only a cycle of garbage held would be
        # finalized along with its borrower, who still gives it back.
        self._lent: dict[int, Any] = {}
        self.live_bytes = self.peak_bytes = self.free_bytes = 0

    def acquire(self, size: int, shelf: list[Any] | None = None) -> Any:
        """A buffer of `size` bytes, from `shelf` if one is there. Raises what `create` raises when
        there is no memory even without the free buffers."""
        with self._lock:
            if self._returned:
                self._settle()
            shelf = shelf or self._by_size.get(size)
            if shelf:
                made = shelf.pop()
                if self._free.pop(id(made), None) is not None:
                    self.free_bytes -= size
            else:
                made = self._made(size)
            self._lent[id(made)] = made
            self.live_bytes += size
            if self.live_bytes > self.peak_bytes:
                self.peak_bytes = self.live_bytes
            return made

    def release(self, buffer: Any, shelf: list[Any] | None = None) -> None:
        """Back to `shelf`, or to those of its size. Finalizers call this, in whatever moment: when
        someone is at work here, or little came back, it is put away by the next call."""
        self._returned.append((buffer, shelf))
        if buffer.size > _LITTLE_BYTES or len(self._returned) > _FEW:
            self.settle()

    def settle(self) -> None:
        """Puts away what came back, if nobody else is at work here."""
        if self._lock.acquire(blocking=False):
            try:
                self._settle()
            finally:
                self._lock.release()

    def empty(self) -> None:
        """Destroys all free buffers."""
        with self._lock:
            self._settle()
            self._shrink(0)

    # -- with the lock held -------------------------------------------------------------------

    def _settle(self) -> None:
        while self._returned:
            buffer, shelf = self._returned.popleft()
            size = buffer.size
            if shelf is None or len(shelf) >= _MOST_ON_A_SHELF:
                shelf = self._by_size.setdefault(size, [])
            self._lent.pop(id(buffer), None)
            self._free[id(buffer)] = buffer, shelf
            shelf.append(buffer)
            self.live_bytes -= size
            self.free_bytes += size
        if self.free_bytes > KEPT_BYTES:
            self._shrink(max(KEPT_BYTES, self.live_bytes))

    def _made(self, size: int) -> Any:
        try:
            made = self._create(size)
        except MemoryError:
            self._shrink(0)
            made = self._create(size)
        count("buffers")
        return made

    def _shrink(self, most: int) -> None:
        """Destroys free buffers until `most` bytes are left. What an interrupt lost from its shelf
        is not destroyed: someone may have it."""
        while self.free_bytes > most and self._free:
            _, (buffer, shelf) = self._free.popitem(last=False)
            self.free_bytes -= buffer.size
            at = next((i for i, b in enumerate(shelf) if b is buffer), None)
            if at is not None:
                del shelf[at]
                buffer.destroy()
            if not shelf and self._by_size.get(buffer.size) is shelf:
                del self._by_size[buffer.size]
