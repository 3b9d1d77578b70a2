"""The scripts in tests/data that recorded other libraries' results: their cases and inputs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"


def script(name: str) -> Any:
    """The module `tests/data/NAME.py`."""
    spec = importlib.util.spec_from_file_location(name, DATA / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
