"""These tests ask what functions mean; the interpreter answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import anneal


@pytest.fixture(autouse=True)
def _interpreter() -> Iterator[None]:
    with anneal.default_device("interpreter"):
        yield
