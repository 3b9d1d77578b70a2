"""Counters: what the library has done in this process. Standard library only; anyone may count."""

from __future__ import annotations

_counts: dict[str, int] = dict.fromkeys(
    ("traces", "schedules", "plans_loaded", "graphs_compiled", "kernels_rendered",
     "kernels_compiled", "pipelines", "launches", "submissions", "buffers", "live_bytes",
     "peak_bytes"), 0)  # fmt: skip


def count(name: str, by: int = 1) -> None:
    """Adds `by` to the counter `name`."""
    _counts[name] = _counts.get(name, 0) + by


def count_bytes(by: int) -> None:
    """Adds `by` (negative: freed) to the bytes alive on devices, and keeps their peak."""
    _counts["live_bytes"] += by
    _counts["peak_bytes"] = max(_counts["peak_bytes"], _counts["live_bytes"])


def stats() -> dict[str, int]:
    """A snapshot of all counters since the process began, and of the graph nodes alive (`uops`).

    >>> before = stats()["traces"]
    >>> count("traces")
    >>> stats()["traces"] - before
    1
    """
    from anneal.uop.uop import live_nodes

    return {**_counts, "uops": live_nodes()}
