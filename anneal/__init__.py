"""anneal: composable transformations of numerical functions, by a compiler you can see through."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from anneal import errors, tree
from anneal.array import Array
from anneal.transforms.grad import grad, value_and_grad, vjp
from anneal.transforms.jit import jit

if TYPE_CHECKING:
    from anneal.device import default_device, devices, doctor
    from anneal.stats import stats

# What is imported when first asked for: submodules, and functions of those that meet a device.
_MODULES = frozenset({"lax", "nn", "numpy", "optim", "random"})
_FUNCTIONS = {
    "default_device": "anneal.device", "devices": "anneal.device", "doctor": "anneal.device",
    "stats": "anneal.stats",
}  # fmt: skip

__all__ = [
    "Array", "default_device", "devices", "doctor", "errors", "grad", "jit", "lax", "nn", "numpy",
    "optim", "random", "stats", "tree", "value_and_grad", "vjp",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"anneal.{name}")
    if name in _FUNCTIONS:
        found = getattr(importlib.import_module(_FUNCTIONS[name]), name)
        globals()[name] = found
        return found
    raise AttributeError(f"module 'anneal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
