"""The coefficients of rules/functions.py are those of tests/minimax.py."""

from __future__ import annotations

import numpy as np
import pytest

from anneal.rules import functions
from tests.minimax import PROBLEMS, error, fit


@pytest.mark.parametrize("name", PROBLEMS)
def test_polynomials_leave_no_larger_error_than_the_best(name: str) -> None:
    have, best = getattr(functions, name), fit(PROBLEMS[name])
    assert len(have) == len(best)
    np.testing.assert_array_equal(np.float32(have), have)
    assert error(PROBLEMS[name], have) <= 1.05 * error(PROBLEMS[name], best) + 0.01
