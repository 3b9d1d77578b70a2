"""For conftest.py: every test of a folder runs on the interpreter and on WebGPU; on the latter a
dtype that it has not is a reason to skip. Property tests, which make a program for each example,
ask the interpreter."""
from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import is_hypothesis_test

import anneal


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    many = not is_hypothesis_test(metafunc.function)
    metafunc.parametrize("_device", ["interpreter", "webgpu", "cpu"] if many else ["interpreter"],
                         indirect=True)  # fmt: skip


@pytest.fixture(autouse=True)
def _device(request: pytest.FixtureRequest) -> Iterator[None]:
    with anneal.default_device(request.param):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: Any) -> Generator[None, Any, Any]:
    try:
        return (yield)
    except TypeError as e:
        if str(e).startswith(("webgpu has no ", "cpu has no ")):
            pytest.skip(str(e).partition(":")[0])
        raise
