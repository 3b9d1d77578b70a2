"""Interrupts that come where nothing may be left half done: heard a little later."""

from __future__ import annotations

import ctypes
import threading

_SOON_SECONDS = 0.001


def raise_soon(error: type[BaseException]) -> None:
    """Raises `error` in this thread when it has gone on, by way of another thread."""
    thread = ctypes.c_ulong(threading.get_ident())
    timer = threading.Timer(_SOON_SECONDS, ctypes.pythonapi.PyThreadState_SetAsyncExc,
                            (thread, ctypes.py_object(error)))  # fmt: skip
    timer.daemon = True
    timer.start()
