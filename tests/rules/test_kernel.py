"""rules/kernel.upat: what is not a function of rules/functions.py."""

from __future__ import annotations

import math

import numpy as np
import pytest

from anneal.interpret import evaluate, numpy_dtype
from anneal.rules._kernel import RULES
from anneal.uop import dtypes, ops
from anneal.uop.dtypes import DType
from anneal.uop.rewrite import rewrite
from anneal.uop.uop import const, param

SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1, -1, 6, 1e-7, -65504], np.float32)


@pytest.mark.parametrize("dtype", [dtypes.float16, dtypes.float32, dtypes.float64], ids=str)
@pytest.mark.parametrize("number", [0.0, -0.0, 6.0, -1.0, math.inf, -math.inf])
@pytest.mark.parametrize("op", [ops.MAX, ops.MIN], ids=str)
def test_the_greater_of_a_number_takes_one_comparison(
    op: ops.Op, number: float, dtype: DType
) -> None:
    x, c = param(dtype, SPECIAL.shape), const(number, dtype)
    given = SPECIAL.astype(numpy_dtype(dtype))
    want = (np.maximum if op is ops.MAX else np.minimum)(given, given.dtype.type(number))
    for u in (x.alu(op, c), c.alu(op, x)):
        (new,) = rewrite([u], RULES)
        assert new.op is ops.WHERE and new.src[0].op is ops.LT
        np.testing.assert_array_equal(evaluate([new], {x: given})[0], want)


def test_the_greater_of_nan_is_left() -> None:
    u = param(dtypes.float32, (3,)).maximum(math.nan)
    assert rewrite([u], RULES) == [u]
