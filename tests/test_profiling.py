"""Profiles: every kernel that ran, with its time, rates and lines."""

from __future__ import annotations

import json

import numpy as np
import pytest

import anneal
from anneal import nn


def test_kernels_are_timed_on_webgpu() -> None:
    x = np.ones((64, 200), np.float32)
    with anneal.default_device("webgpu"):
        f = anneal.jit(nn.softmax)
        f(x)
        with anneal.profile() as p:
            for _ in range(3):
                f(x)
        f(x)
    (row,) = p.rows
    assert row["calls"] == 3
    assert 0 < row["seconds"] < 10
    assert row["flops"] > x.size
    assert row["bytes"] == 2 * x.nbytes
    assert row["gbytes"] == pytest.approx(3 * row["bytes"] / row["seconds"] / 1e9)
    json.dumps(p.rows)


def test_the_table_shows_lines() -> None:
    with anneal.default_device("webgpu"), anneal.profile() as p:
        anneal.jit(lambda x: x * 2 + 1)(np.ones(8, np.float32))
    assert "test_profiling.py" in str(p)
    assert str(p).splitlines()[0].split()[:2] == ["kernel", "calls"]


def test_profiles_nest_and_close_after_errors() -> None:
    with anneal.default_device("interpreter"), anneal.profile() as outer:
        with pytest.raises(KeyError), anneal.profile() as inner:
            (anneal.jit(lambda x: x + 1)(1.0)).item()
            raise KeyError
        anneal.jit(lambda x: x + 2)(1.0).item()
    assert sum(r["calls"] for r in inner.rows) == 1
    assert sum(r["calls"] for r in outer.rows) == 2
