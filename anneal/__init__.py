"""anneal: composable transformations of numerical functions, by a compiler you can see through."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from anneal import errors, tree
from anneal.array import Array
from anneal.profiling import profile
from anneal.transforms.checkpoint import checkpoint
from anneal.transforms.grad import grad, value_and_grad, vjp
from anneal.transforms.jit import jit

from anneal.stats import stats  # isort: skip  (the function takes the place of its module)

if TYPE_CHECKING:
    from anneal.device import default_device, devices, doctor

# What is imported when first asked for: submodules, and functions of those that meet a device.
_MODULES = frozenset({"lax", "nn", "numpy", "optim", "random"})
_OF_DEVICE = frozenset({"default_device", "devices", "doctor"})

__all__ = [
    "Array", "checkpoint", "default_device", "devices", "doctor", "errors", "grad", "jit", "lax",
    "nn", "numpy", "optim", "profile", "random", "stats", "tree", "value_and_grad", "vjp",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"anneal.{name}")
    if name in _OF_DEVICE:
        return getattr(importlib.import_module("anneal.device"), name)
    raise AttributeError(f"module 'anneal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
