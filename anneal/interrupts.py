"""Interrupts that come where nothing may be left half done: heard a little later."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar, cast

T = TypeVar("T")

_SOON_SECONDS = 0.001


def raise_soon(error: type[BaseException]) -> None:
    """Raises `error` in this thread when it has gone on, by way of another thread."""
    thread = ctypes.c_ulong(threading.get_ident())
    timer = threading.Timer(_SOON_SECONDS, ctypes.pythonapi.PyThreadState_SetAsyncExc,
                            (thread, ctypes.py_object(error)))  # fmt: skip
    timer.daemon = True
    timer.start()


class Apart:
    """A thread for what an interrupt would break: Python raises interrupts in other threads, and
    code of others that takes locks in Python keeps one for good if it is left in that moment."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="anneal", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while True:
            self._jobs.get()()

    def run(self, what: Callable[[], T]) -> T:
        """What `what` gives. An interrupt that comes meanwhile is raised when it has ended."""
        made: list[tuple[T | None, BaseException | None]] = []
        ended = threading.Lock()
        ended.acquire()

        def job() -> None:
            try:
                made.append((what(), None))
            except BaseException as error:
                made.append((None, error))
            ended.release()

        interrupt: BaseException | None = None
        given: list[None] = []
        try:
            given.extend(map(self._jobs.put, (job,)))  # one step: given, and known to be
            ended.acquire()
        except BaseException as error:
            if not given:
                raise
            interrupt = error
        while not made:
            try:
                ended.acquire(timeout=_SOON_SECONDS)
            except BaseException as error:
                interrupt = error
        ((result, failed),) = made
        wrong = failed or interrupt
        if wrong is not None:
            raise wrong
        return cast(T, result)
