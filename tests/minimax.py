"""Coefficients of the polynomials in anneal/rules/functions.py: `python -m tests.minimax` computes
them, and prints how large the relative error is that each leaves in its function.

By C. L. Lawson's weighted least squares, which grow where the error is largest until it is the same
everywhere; then the highest coefficient is rounded to float32, and the others are fitted again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

Data = np.ndarray[Any, Any]
UNIT = 2.0**-24  # half a unit in the last place of 1


class Problem(NamedTuple):
    """A polynomial of `degree` near `f` between `low` and `high`, where an error of it counts
    `weight` times."""

    f: Callable[[Data], Data]
    low: float
    high: float
    degree: int
    weight: Callable[[Data], Data]


def _series(terms: Callable[[int], float]) -> Callable[[Data], Data]:
    return lambda x: sum((terms(k) * x**k for k in range(24)), np.zeros_like(x))


def _log_part(m: Data) -> Data:
    near = np.where(np.abs(m) < 0.05, m, 0)
    far = np.where(np.abs(m) < 0.05, 1, m)
    series = _series(lambda k: (-1) ** k / (k + 3))(near)
    return np.where(far == m, (np.log1p(far) - far + far * far / 2) / far**3, series)


def _erfc(x: Data) -> Data:
    return np.vectorize(math.erfc)(x)


def _exp_part(r: Data) -> Data:
    return _series(lambda k: 1 / math.factorial(k + 2))(r)


_HALF_LN2, _EIGHTH = 0.5005 * math.log(2), (math.pi / 4) ** 2  # some more than the rounding there
PROBLEMS = {
    "_EXP": Problem(_exp_part, -_HALF_LN2, _HALF_LN2, 4, lambda r: r * r / np.abs(np.expm1(r))),
    "_LOG": Problem(_log_part, math.sqrt(0.5) - 1.0003, math.sqrt(2) - 0.9996, 7,
                    lambda m: np.abs(m**3 / np.log1p(m))),
    "_ERF": Problem(lambda x: np.log(_erfc(x)) / x, 1e-3, 4.0, 7,
                    lambda x: _erfc(x) * x / (1 - _erfc(x))),
    "_SIN": Problem(_series(lambda k: (-1) ** (k + 1) / math.factorial(2 * k + 3)), 0, _EIGHTH, 2,
                    lambda z: z**1.5 / np.sin(np.sqrt(z))),
    "_COS": Problem(_series(lambda k: (-1) ** k / math.factorial(2 * k + 4)), 0, _EIGHTH, 2,
                    lambda z: z * z / np.cos(np.sqrt(z))),
}  # fmt: skip


def nodes(p: Problem, count: int = 2000) -> Data:
    """Points of the interval, more of them near its ends."""
    turn = np.cos(np.pi * (np.arange(count) + 0.5) / count)
    return np.asarray((p.low + p.high) / 2 + (p.high - p.low) / 2 * turn)


def error(p: Problem, coefficients: Sequence[float]) -> float:
    """The largest, in units of 2**-24; the coefficients' highest power first."""
    x = nodes(p)
    return float(np.max(np.abs(np.polyval(coefficients, x) - p.f(x)) * p.weight(x)) / UNIT)


def _lawson(basis: Data, target: Data, weight: Data, rounds: int = 200) -> Data:
    """Coefficients of the columns of `basis` for the smallest of the largest weighted errors."""
    importance, scale = np.ones(len(target)) / len(target), np.abs(basis).max(0)
    best, least = basis[0], math.inf
    for _ in range(rounds):
        w = np.sqrt(importance) * weight
        found = np.linalg.lstsq(basis / scale * w[:, None], target * w, rcond=None)[0] / scale
        errors = np.abs(basis @ found - target) * weight
        if errors.max() < least:
            best, least = found, errors.max()
        importance *= errors / errors.max() + 1e-12
        importance /= importance.sum()
    return best


def fit(p: Problem) -> list[float]:
    """Floats of 32 bits, the highest power first."""
    x = nodes(p)
    rest, weight, out = p.f(x), p.weight(x), []
    for power in range(p.degree, -1, -1):
        found = _lawson(x[:, None] ** np.arange(power + 1), rest, weight)
        out.append(float(np.float32(found[power])))
        rest = rest - out[-1] * x**power
    return out


if __name__ == "__main__":
    for name, problem in PROBLEMS.items():
        found = fit(problem)
        print(f"{name} = {found}  # {error(problem, found):.2f} of 2**-24")
