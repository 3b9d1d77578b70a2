"""Where a program's time goes: every kernel with its device time, bytes and lines of Python.

`with anneal.profile() as p:` records what runs in the block; `print(p)` is a table, `p.rows` data.
While a profile is open each kernel runs in a pass of its own, with time stamps where the adapter
has them, else timed from the host; calls are therefore slower than without.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from anneal.uop.uop import Origin

# The profiles that are open, innermost last: devices record into each.
_open: list[Profile] = []


@dataclass(slots=True)
class _Row:
    name: str
    flops: int
    bytes: int
    origins: tuple[Origin, ...]
    calls: int = 0
    seconds: float = 0.0


@dataclass(slots=True, eq=False)
class Profile:
    """Kernels that ran, with their times in seconds on the device.

    >>> import anneal
    >>> import anneal.numpy as anp
    >>> with anneal.profile() as p:
    ...     _ = (anp.ones(8) * 2).numpy()
    >>> [row["calls"] for row in p.rows]
    [1]
    """

    _rows: dict[Any, _Row] = field(default_factory=dict)

    def __enter__(self) -> Profile:
        _open.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        _open.remove(self)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One mapping for each kernel, the longest first: "name", "calls", "seconds", and per call
        "flops" and "bytes"; "gflops" and "gbytes", the rates achieved; "lines" of Python."""
        found = sorted(self._rows.values(), key=lambda r: -r.seconds)
        return [{"name": r.name, "calls": r.calls, "seconds": r.seconds, "flops": r.flops,
                 "bytes": r.bytes, "gflops": _rate(r.flops * r.calls, r.seconds),
                 "gbytes": _rate(r.bytes * r.calls, r.seconds),
                 "lines": sorted({f"{o.file}:{o.line}" for o in r.origins})}
                for r in found]  # fmt: skip

    def __str__(self) -> str:
        rows = self.rows
        total = sum(r["seconds"] for r in rows) or 1.0
        lines = [f"{'kernel':32} {'calls':>6} {'ms':>9} {'%':>5} {'GFLOP/s':>8} {'GB/s':>7}  lines"]
        for r in rows:
            places = ", ".join(r["lines"][:3]) + (", ..." if len(r["lines"]) > 3 else "")
            lines.append(f"{r['name'][:32]:32} {r['calls']:6d} {r['seconds'] * 1e3:9.3f} "
                         f"{100 * r['seconds'] / total:5.1f} {r['gflops']:8.2f} {r['gbytes']:7.2f}"
                         f"  {places}")  # fmt: skip
        return "\n".join(lines)


def profile() -> Profile:
    """A context manager that records every kernel run in its block; see Profile."""
    return Profile()


def profiled() -> bool:
    """Whether a profile is open: devices then time every kernel."""
    return bool(_open)


def record(name: str, flops: int, nbytes: int, origins: tuple[Origin, ...],
           seconds: float) -> None:  # fmt: skip
    """One run of a kernel, for every open profile."""
    for p in _open:
        row = p._rows.setdefault((name, origins), _Row(name, flops, nbytes, origins))
        row.calls += 1
        row.seconds += seconds


def _rate(amount: float, seconds: float) -> float:
    return amount / seconds / 1e9 if seconds > 0 else 0.0
