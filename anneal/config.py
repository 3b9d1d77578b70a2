"""Settings from the environment, read when asked for: the only place that reads it."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from anneal import errors


class SettingError(errors.AnnealError, ValueError):
    """An environment variable that anneal cannot make sense of."""


def device_name() -> str | None:
    """`ANNEAL_DEVICE`: "webgpu", "cpu" or "interpreter"; unset: chosen by what is there."""
    return os.environ.get("ANNEAL_DEVICE") or None


def max_buffers() -> int | None:
    """`ANNEAL_MAX_BUFFERS`: storage buffers a kernel may bind, if fewer than the device's."""
    text = os.environ.get("ANNEAL_MAX_BUFFERS")
    if not text:
        return None
    # Not isdigit, which is true of "²"; nor digits without end, which int refuses.
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) < 4:
        raise SettingError(f"ANNEAL_MAX_BUFFERS: expected a number of at least 4, got {text!r}")
    return int(text)


def beam() -> int:
    """`ANNEAL_BEAM=N`: jit searches for the Opts of kernels that have none yet, among the
    neighbours of the N best; unset or 0: it takes those that were found before."""
    text = os.environ.get("ANNEAL_BEAM") or "0"
    if not re.fullmatch("[0-9]{1,3}", text):
        raise SettingError(f"ANNEAL_BEAM: expected a number from 0 to 999, got {text!r}")
    return int(text)


@contextlib.contextmanager
def no_display() -> Iterator[None]:
    """For the block, a session folder without a display where the user has none: Vulkan's loader
    asks for Wayland, whose library complains on stderr, four lines, when the variable is unset."""
    if "XDG_RUNTIME_DIR" in os.environ:
        yield
        return
    os.environ["XDG_RUNTIME_DIR"] = "/nonexistent"
    try:
        yield
    finally:
        os.environ.pop("XDG_RUNTIME_DIR", None)


def schedule_settings() -> tuple[object, ...]:
    """All that changes what a graph becomes, as it stands in the environment: a cheap key."""
    return _raw("ANNEAL_MAX_BUFFERS"), _raw("ANNEAL_FUSE"), _raw("ANNEAL_BEAM")


def _raw(name: str) -> object:
    """A variable as the environment keeps it: to decode it costs as much as a small kernel."""
    return _environment.get(_encoded(name))


_environment: Mapping[Any, Any] = getattr(os.environ, "_data", os.environ)
_encoded = functools.cache(os.environ.encodekey if _environment is not os.environ else str)


def cache_folder() -> Path | None:
    """`ANNEAL_CACHE_DIR`: where plans are kept between processes; empty, or below the home of
    nobody: nowhere. Unset: the platform's cache folder (`XDG_CACHE_HOME` is honoured)."""
    asked = os.environ.get("ANNEAL_CACHE_DIR")
    if asked is not None:
        return _expanded(asked) if asked else None
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = _expanded(base)
    return None if folder is None else folder / "anneal"


def _expanded(path: str) -> Path | None:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # no such home folder
        return None


def verify() -> bool:
    """`ANNEAL_VERIFY=1`: check the IR against its specification between the compiler's stages."""
    return os.environ.get("ANNEAL_VERIFY", "0") not in ("", "0")


def fuse() -> bool:
    """`ANNEAL_FUSE=0`: a kernel for every operation, to compare with."""
    return os.environ.get("ANNEAL_FUSE", "1") != "0"
