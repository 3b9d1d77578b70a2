"""Every example in a docstring runs and shows what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import anneal

MODULES = sorted(m.name for m in pkgutil.walk_packages(anneal.__path__, "anneal.")
                 if "__main__" not in m.name)  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    with anneal.default_device("interpreter"):
        module = importlib.import_module(name)
        assert doctest.testmod(module, raise_on_error=False).failed == 0
