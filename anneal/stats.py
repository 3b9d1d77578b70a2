"""Counters: what the library has done in this process. Standard library only; anyone may count."""

from __future__ import annotations

import threading
from collections.abc import Callable

_counts: dict[str, int] = dict.fromkeys(
    ("traces", "schedules", "plans_loaded", "graphs_compiled", "kernels_rendered",
     "kernels_compiled", "objects_loaded", "kernels_searched", "pipelines", "launches",
     "submissions", "buffers", "live_bytes", "peak_bytes", "pooled_bytes"), 0)  # fmt: skip
_lock = threading.RLock()  # a finalizer may count in the midst of another count
_gauges: list[Callable[[], dict[str, int]]] = []


def count(name: str, by: int = 1) -> None:
    """Adds `by` to the counter `name`."""
    with _lock:
        _counts[name] = _counts.get(name, 0) + by


def gauge(read: Callable[[], dict[str, int]]) -> None:
    """`read` gives counters that its owner keeps, for each snapshot: bytes alive on a device, the
    most that ever were, and those kept free for the next who asks."""
    _gauges.append(read)


def stats() -> dict[str, int]:
    """A snapshot of all counters since the process began, and of the graph nodes alive (`uops`).

    >>> before = stats()["traces"]
    >>> count("traces")
    >>> stats()["traces"] - before
    1
    """
    from anneal.uop.uop import live_nodes

    found = {**_counts, "uops": live_nodes()}
    for read in _gauges:
        found.update(read())
    return found
