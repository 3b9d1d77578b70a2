"""The tables of errors in docs/numerics.md: `python -m tests.accuracy_table` measures them on the
devices here and writes them; tests/test_accuracy.py measures again and compares. With the names of
functions it measures those on the CPU for every float32 there is, some minutes each.

An error is the distance to the result in float64, in units of the last place (ulp) of the dtype.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

import anneal
import anneal.numpy as anp
from anneal import lax, nn

PAGE = Path(__file__).parent.parent / "docs" / "numerics.md"
DEVICES = ("interpreter", "cpu", "webgpu")
NARROW = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
Data = np.ndarray[Any, Any]
COUNT = 1 << 17
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1, -1, 0.5, -2.5, 3, 1e-45, -1e-45, 5e-39,
                    1.1754944e-38, 3.4028235e38, -3.4028235e38], np.float32)  # fmt: skip


class Row(NamedTuple):
    """`exact`: the function of float64. `unit`: what the last place is of, the result or an
    operand. `least`, `most`: numbers outside are not given to it."""

    f: Callable[..., Any]
    exact: Callable[..., Data]
    arity: int = 1
    unit: str = "result"
    least: float = -math.inf
    most: float = math.inf


def _each(f: Callable[[float], float]) -> Callable[[Data], Data]:
    return lambda x: np.asarray(np.frompyfunc(f, 1, 1)(x), np.float64)


_erf, _erfc = _each(math.erf), _each(math.erfc)


def _erf_inv(x: Data) -> Data:
    """By Newton's steps on erfc."""
    rest = 1 - np.abs(x)
    y = np.sqrt(-np.log(np.clip(rest, 1e-12, 1)))
    for _ in range(60):
        y = y + (_erfc(y) - rest) / (2 / math.sqrt(math.pi) * np.exp(-y * y))
    y = np.where(np.abs(x) < 1e-4, np.abs(x) * math.sqrt(math.pi) / 2 * (1 + x * x * math.pi / 12),
                 y)  # fmt: skip
    return np.where(rest < 0, np.nan, np.copysign(np.where(rest == 0, np.inf, y), x))


def _sigmoid(x: Data) -> Data:
    return np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))


def _of_float32(f: Callable[..., Data]) -> Callable[..., Data]:
    """Exact in the operands' dtype, where float64 rounds the divisor's multiples elsewhere."""
    return lambda *xs: f(*[x.astype(np.float32) for x in xs]).astype(np.float64)


ROWS: dict[str, Row] = {
    "exp": Row(anp.exp, np.exp),
    "exp2": Row(anp.exp2, np.exp2),
    "expm1": Row(anp.expm1, np.expm1),
    "log": Row(anp.log, np.log),
    "log2": Row(anp.log2, np.log2),
    "log10": Row(anp.log10, np.log10),
    "log1p": Row(anp.log1p, np.log1p),
    "sin": Row(anp.sin, np.sin),
    "cos": Row(anp.cos, np.cos),
    "tan": Row(anp.tan, np.tan),
    "sinh": Row(anp.sinh, np.sinh),
    "cosh": Row(anp.cosh, np.cosh),
    "tanh": Row(anp.tanh, np.tanh),
    "erf": Row(lax.erf, _erf),
    "erf_inv": Row(lax.erf_inv, _erf_inv, least=-1, most=1),
    "sqrt": Row(anp.sqrt, np.sqrt),
    "rsqrt": Row(lax.rsqrt, lambda x: 1 / np.sqrt(x)),
    "reciprocal": Row(anp.reciprocal, np.reciprocal),
    "square": Row(anp.square, np.square),
    "sigmoid": Row(nn.sigmoid, _sigmoid),
    "log_sigmoid": Row(nn.log_sigmoid, lambda x: -np.logaddexp(-x, 0)),
    "softplus": Row(nn.softplus, lambda x: np.logaddexp(x, 0)),
    "silu": Row(nn.silu, lambda x: x * _sigmoid(x), least=-87.0),
    "elu": Row(nn.elu, lambda x: np.where(x > 0, x, np.expm1(np.where(x > 0, 0, x)))),
    "gelu": Row(nn.gelu, lambda x: x * _sigmoid(math.sqrt(8 / math.pi) * (x + 0.044715 * x**3)),
                unit="operand"),
    "gelu, exact": Row(lambda x: nn.gelu(x, approximate=False),
                       lambda x: x * 0.5 * _erfc(-x * math.sqrt(0.5)), unit="operand"),
    "power": Row(anp.power, np.power, 2),
    "logaddexp": Row(anp.logaddexp, np.logaddexp, 2, unit="operand"),
    "hypot": Row(anp.hypot, np.hypot, 2),
    "divide": Row(anp.divide, np.divide, 2),
    "remainder": Row(anp.remainder, _of_float32(np.remainder), 2),
    "floor_divide": Row(anp.floor_divide, np.floor_divide, 2),
}  # fmt: skip


def _operands(row: Row, seed: int) -> list[Data]:
    """Numbers: half of them any bits, half of everyday sizes, and whole ones among them."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(row.arity):
        bits = rng.integers(0, 2**32, COUNT // 2, np.uint32).view(np.float32)
        sizes = 10.0 ** rng.uniform(-6, 2, COUNT // 2)
        x = np.concatenate([bits, (rng.standard_normal(COUNT // 2) * sizes).astype(np.float32)])
        x[::16] = np.round(x[::16])
        out.append(np.where((x >= row.least) & (x <= row.most), x, np.float32(0.5)))
    if row.f is anp.power:
        out[0][::2] = np.abs(out[0][::2])
    order = rng.permutation(COUNT)  # any bits meet everyday sizes
    return [out[0], *[np.where(np.arange(COUNT) % 2, y, y[order]) for y in out[1:]]]


def _errors(row: Row, xs: list[Data], got: Data) -> Data:
    """In ulp, where the exact result is a finite number of the dtype."""
    dtype = xs[0].dtype
    with np.errstate(all="ignore"):
        wide = [x.astype(np.float64) for x in xs]
        want = row.exact(*wide)
        finite = np.isfinite(want.astype(dtype)) & np.logical_and.reduce([np.isfinite(x)
                                                                          for x in wide])
        size = np.abs(want) if row.unit == "result" else np.max(np.abs([want, *wide]), axis=0)
        unit = np.spacing(size.astype(dtype)).astype(np.float64)
        return np.asarray(np.abs(got.astype(np.float64) - want)[finite] / unit[finite])


def _run(row: Row, xs: list[Data], device: str) -> Data:
    with anneal.default_device(device):
        return np.asarray(anneal.jit(row.f)(*[anp.asarray(x) for x in xs]))


def measure(name: str, device: str) -> float:
    """The largest error found in float32."""
    row = ROWS[name]
    xs = _operands(row, len(name))
    return float(np.max(_errors(row, xs, _run(row, xs, device))))


def measure_narrow(name: str, dtype: str) -> float:
    """The largest error in a dtype of 16 bits, on the CPU: of every number, or some pairs."""
    row, n = ROWS[name], 1 << 16
    order = np.random.default_rng(len(name)).permutation(n)
    xs = [a.astype(np.uint16).view(NARROW[dtype]) for a in (np.arange(n), order)[: row.arity]]
    outside = [~((x >= row.least) & (x <= row.most)) for x in xs]
    xs = [np.where(o, x.dtype.type(0.5), x) for o, x in zip(outside, xs, strict=True)]
    return float(np.max(_errors(row, xs, _run(row, xs, "cpu"))))


def unlike_numpy(name: str, device: str) -> list[tuple[float, ...]]:
    """Special operands of which the result is not NumPy's: NaN, infinities and zeros with their
    signs to the bit, numbers to 4 ulp."""
    row = ROWS[name]
    xs = [g.ravel() for g in np.meshgrid(*[SPECIAL] * row.arity)]
    got = _run(row, xs, device)
    with np.errstate(all="ignore"):
        want = row.exact(*[x.astype(np.float64) for x in xs]).astype(np.float32)
        size = np.max(np.abs([want, *xs]), axis=0) if row.unit == "operand" else np.abs(want)
        near = np.abs(got.astype(np.float64) - want) <= 4 * np.spacing(size)
    zero = (want == 0) & (got == 0) & (np.signbit(got) == np.signbit(want))
    alike = np.where(want == 0, zero, (got == want) | near | (np.isnan(got) & np.isnan(want)))
    return [tuple(float(x[i]) for x in xs) for i in np.flatnonzero(~alike)]


def _up(error: float) -> str:
    return f"{math.ceil(10 * error) / 10:.1f}"


def table() -> str:
    rows = ["| function | interpreter | CPU | WebGPU | float16 | bfloat16 | special values |",
            "|---|---|---|---|---|---|---|"]
    for name in ROWS:
        errors = [_up(measure(name, d)) for d in DEVICES]
        errors += [_up(measure_narrow(name, d)) for d in NARROW]
        unlike = any(unlike_numpy(name, d) for d in DEVICES)
        rows.append(f"| {name} | {' | '.join(errors)} | {'no' if unlike else 'yes'} |")
    return "\n".join(rows) + "\n"


_TABLE = re.compile(r"\| function \| interp.*?\n(?=\n|\Z)", re.DOTALL)


def stated() -> dict[str, dict[str, str]]:
    """What the page says, by function and column."""
    (found,) = _TABLE.findall(PAGE.read_text())
    cells = [[c.strip() for c in line.strip("|\n").split("|")] for line in found.splitlines()[2:]]
    columns = (*DEVICES, *NARROW, "special values")
    return {c[0]: dict(zip(columns, c[1:], strict=True)) for c in cells}


def of_every_float() -> dict[str, float]:
    """The worst of all floats that the page names, by function."""
    found = re.findall(r"^\| (\w+) \| ([\d.]+) \|$", PAGE.read_text(), re.MULTILINE)
    return {name: float(error) for name, error in found}


def _all_floats(part: int = 1 << 22) -> Iterator[Data]:
    for start in range(0, 1 << 32, part):
        yield np.arange(start, start + part, dtype=np.uint64).astype(np.uint32).view(np.float32)


def every_float(name: str) -> float:
    """The largest error of all float32, on the CPU."""
    row, worst = ROWS[name], 0.0
    for x in _all_floats():
        worst = max(worst, np.max(_errors(row, [x], _run(row, [x], "cpu")), initial=0.0))
    return worst


if __name__ == "__main__":
    np.seterr(all="ignore")
    for chosen in sys.argv[1:]:
        print(f"| {chosen} | {math.ceil(100 * every_float(chosen)) / 100:.2f} |", flush=True)
    if not sys.argv[1:]:
        PAGE.write_text(_TABLE.sub(lambda _: table(), PAGE.read_text()))
