"""Where a value comes from: the line of the user's program that asked for it."""

from __future__ import annotations

import os
import sys

from anneal.uop.uop import Origin

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_CLI = _PACKAGE + "cli" + os.sep  # the train commands are programs like a user's
_is_ours: dict[str, bool] = {}


def user_origin(phase: str = "forward", rule: str | None = None) -> Origin | None:
    """The file and line of the innermost frame outside this package."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        ours = _is_ours.get(file)
        if ours is None:
            ours = file.startswith(_PACKAGE) and not file.startswith(_CLI)
            _is_ours[file] = ours
        if not ours:
            return Origin(file, frame.f_lineno, phase, rule)
        frame = frame.f_back  # type: ignore[assignment]
    return None


def frames_to_user() -> int:
    """How many calls up from the caller the user's code is: a warning's stacklevel."""
    frame, count = sys._getframe(1), 1
    while frame.f_back is not None and _is_ours.get(frame.f_code.co_filename, True):
        if not frame.f_code.co_filename.startswith(_PACKAGE):
            break
        frame, count = frame.f_back, count + 1
    return count
