"""Settings from the environment, read when asked for: the only place that reads it."""

from __future__ import annotations

import os


def device_name() -> str | None:
    """`ANNEAL_DEVICE`: "webgpu" or "interpreter"; unset: chosen by what is there."""
    return os.environ.get("ANNEAL_DEVICE") or None


def max_buffers() -> int | None:
    """`ANNEAL_MAX_BUFFERS`: storage buffers a kernel may bind, if fewer than the device's."""
    text = os.environ.get("ANNEAL_MAX_BUFFERS")
    if not text:
        return None
    if not text.isdigit() or int(text) < 3:
        raise ValueError(f"ANNEAL_MAX_BUFFERS: expected a number of at least 3, got {text!r}")
    return int(text)
