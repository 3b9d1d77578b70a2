"""Kernels print as loop nests."""

from __future__ import annotations

import numpy as np

from anneal.kernel.opts import apply, parse
from anneal.kernel.target import CPU
from tests.kernel.kernels import matmul, softmax, update


def test_values_stand_at_the_loop_that_they_depend_on() -> None:
    assert str(softmax(np.random.default_rng(0), 5, 7).kernel) == """\
kernel(write a0: float32[35], read a1: float32[35])
  loop i < 5:
    v0 = max over loop m < 7: a1[((i * 7) + m)]
    s0 = register[7] strides (1,) of loop q < 7: exp((a1[((i * 7) + q)] - v0))
    v1 = add over loop s < 7: s0[s]
    loop j < 7:
      a0[((i * 7) + j)] = (s0[j] / v1)"""


def test_effects_stand_after_those_that_they_wait_for() -> None:
    lines = str(update(np.random.default_rng(0), 2, 3, 4).kernel).splitlines()
    assert [line.strip() for line in lines if "loop" in line and "over" not in line] == [
        "loop p < 2:", "loop q < 3:", "loop i < 3:", "loop j < 4:"]  # fmt: skip
    assert lines[-1].strip().startswith("a1'[")


def test_a_schedule_is_shown_with_its_opts() -> None:
    case = matmul(np.random.default_rng(0), 8, 32, 5)
    kernel = apply(case.kernel, parse("SPLIT(j, 16) VECTOR(j%16) UNROLL(i)"), CPU)
    text = str(kernel)
    assert text.splitlines()[0].endswith("SPLIT(j, 16) VECTOR(j%16) UNROLL(i)")
    assert "vector j%16 < 16:" in text and "unroll i < 8:" in text
