"""What holds for all tests: the IR is verified between stages, and devices do not leak."""

from __future__ import annotations

import os

import pytest

os.environ["ANNEAL_VERIFY"] = "1"
os.environ["ANNEAL_CACHE_DIR"] = ""  # every test compiles for itself
# Test processes run side by side: one thread each, or they wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-goldens", action="store_true",
                     help="write tests/kernel/goldens/ anew in place of comparing")  # fmt: skip
