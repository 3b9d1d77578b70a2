"""docs/fusion.md: how many kernels every program of tests/programs.py becomes.

`python -m tests.documents` writes it. No device is asked: a schedule is a function of the graph and
of limits.
"""

from __future__ import annotations

from pathlib import Path

import anneal
from anneal.lowering.limits import Limits
from anneal.lowering.plan import lower
from tests import programs
from tests.programs import Program

PAGE = Path(__file__).parent.parent / "docs" / "fusion.md"
COLUMNS = (Limits(32), Limits(10), Limits(8), Limits(fuse=False))
HEAD = """\
# What becomes one kernel

Kernels of one call, counted by lowering it; `python -m tests.documents` writes this page, a test
compares. The programs and their shapes are `large()` in `tests/programs.py`. The first columns let
a kernel bind 32 storage buffers (what Mesa's software Vulkan has), 10 (the common case) and 8 (the
least that WebGPU guarantees). The last has a kernel for every operation except movement of data and
products that are summed at once; tests run both schedules and compare results. Kernels that do not
wait for each other share a launch on WebGPU, where all but one of them are small; it counts once.

| program | 32 buffers | 10 | 8 | unfused | what bounds it |
|---|---|---|---|---|---|
"""
TAIL = """
Where fewer buffers mean more kernels, one kernel would bind more inputs and results than it may:
Adam reads and writes three arrays a parameter, and the weight and bias of a layer are
updated together.
"""


def row(p: Program) -> str:
    """A program's line of the table."""
    graph = anneal.jit(p.function).lower(*p.args).graph
    counts = [len(lower(graph, limits, frozenset()).launches) for limits in COLUMNS]
    return f"| {p.name} | {' | '.join(map(str, counts))} | {p.bound} |\n"


def page() -> str:
    """The text of docs/fusion.md."""
    return HEAD + "".join([row(p) for p in programs.large()]) + TAIL
