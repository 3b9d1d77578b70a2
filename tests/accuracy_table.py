"""The table of errors in docs/numerics.md: `python -m tests.accuracy_table` measures it on the
devices here and writes it; tests/test_accuracy.py measures again and compares.

An error is the distance to the result in float64, in units of the last place (ulp) of float32.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import anneal
import anneal.numpy as anp
from anneal import lax

PAGE = Path(__file__).parent.parent / "docs" / "numerics.md"
DEVICES = ("interpreter", "cpu", "webgpu")
Data = np.ndarray[Any, Any]
COUNT = 40_000


def _uniform(low: float, high: float) -> Callable[[Any], Data]:
    return lambda rng: rng.uniform(low, high, COUNT)


def _any_size(rng: Any) -> Data:
    """Finite numbers of all exponents and both signs."""
    bits = rng.integers(0, 2**32, COUNT, np.uint32).view(np.float32)
    return np.where(np.isfinite(bits) & (np.abs(bits) > 1.2e-38), bits, np.float32(1.0))


def _positive(rng: Any) -> Data:
    return np.abs(_any_size(rng))


def _each(f: Callable[[float], float]) -> Callable[[Data], Data]:
    return lambda x: np.array([f(v) for v in x.tolist()])


# The function, what it is given, over what range in words, and what it should be.
ROWS: dict[str, tuple[Callable[..., Any], tuple[Callable[[Any], Data], ...], str,
                      Callable[..., Data]]] = {
    "exp": (anp.exp, (_uniform(-87, 88),), "-87 to 88", np.exp),
    "log": (anp.log, (_positive,), "all positive numbers", np.log),
    "log near 1": (anp.log, (_uniform(0.5, 2),), "0.5 to 2", np.log),
    "log1p": (anp.log1p, (_uniform(-0.99, 2),), "-0.99 to 2", np.log1p),
    "expm1": (anp.expm1, (_uniform(-2, 2),), "-2 to 2", np.expm1),
    "sin": (anp.sin, (_any_size,), "all finite numbers", _each(math.sin)),
    "cos": (anp.cos, (_any_size,), "all finite numbers", _each(math.cos)),
    "tan": (anp.tan, (_any_size,), "all finite numbers", _each(math.tan)),
    "tanh": (anp.tanh, (_uniform(-10, 10),), "-10 to 10", np.tanh),
    "sinh": (anp.sinh, (_uniform(-80, 80),), "-80 to 80", np.sinh),
    "power": (anp.power, (_uniform(0, 10), _uniform(-30, 30)), "0 to 10, to -30 to 30", np.power),
    "logaddexp": (anp.logaddexp, (_uniform(0, 20), _uniform(0, 20)), "0 to 20", np.logaddexp),
    "hypot": (anp.hypot, (_uniform(-9, 9), _uniform(-9, 9)), "-9 to 9", np.hypot),
    "erf": (lax.erf, (_uniform(-5, 5),), "-5 to 5", _each(math.erf)),
    "sqrt": (anp.sqrt, (_positive,), "all positive numbers", np.sqrt),
    "divide": (anp.divide, (_uniform(-9, 9), _uniform(1, 9)), "-9 to 9, by 1 to 9", np.divide),
    "remainder": (anp.remainder, (_any_size, _any_size), "all finite numbers", np.remainder),
    "floor_divide": (anp.floor_divide, (_uniform(-1e6, 1e6), _uniform(1, 9)),
                     "-1e6 to 1e6, by 1 to 9", np.floor_divide),
}  # fmt: skip


def measure(name: str, device: str) -> float:
    """The largest error found, of results that are normal numbers."""
    f, make, _, exact = ROWS[name]
    rng = np.random.default_rng(len(name))
    args = [m(rng).astype(np.float32) for m in make]
    with anneal.default_device(device):
        got = np.asarray(anneal.jit(f)(*args)).astype(np.float64)
    with np.errstate(all="ignore"):
        if name == "remainder":  # in float64 the sum of remainder and divisor rounds elsewhere
            want = np.remainder(*args).astype(np.float64)
        else:
            want = exact(*[a.astype(np.float64) for a in args])
        normal = (np.abs(want) > 1.2e-38) & (np.abs(want) < 3.4e38)
        unit = np.spacing(np.abs(want[normal]).astype(np.float32)).astype(np.float64)
        return float(np.max(np.abs(got[normal] - want[normal]) / unit))


def table() -> str:
    rows = ["| function | of | interpreter | CPU | WebGPU |", "|---|---|---|---|---|"]
    for name, (_, _, given, _) in ROWS.items():
        errors = [f"{math.ceil(10 * measure(name, d)) / 10:.1f}" for d in DEVICES]
        rows.append(f"| {name} | {given} | {' | '.join(errors)} |")
    return "\n".join(rows) + "\n"


_TABLE = re.compile(r"\| function \|.*?\n(?=\n|\Z)", re.DOTALL)


def stated() -> dict[str, dict[str, float]]:
    """The errors that the page names, by function and device."""
    (found,) = _TABLE.findall(PAGE.read_text())
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in found.splitlines()[2:]]
    return {c[0]: dict(zip(DEVICES, map(float, c[2:]), strict=True)) for c in cells}


if __name__ == "__main__":
    PAGE.write_text(_TABLE.sub(lambda _: table(), PAGE.read_text()))
    sys.exit(0)
