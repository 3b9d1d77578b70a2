"""Guards become numbers of iterations where whole iterations have them, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from anneal.kernel.expand import expanded
from anneal.kernel.guards import without_guards
from anneal.kernel.ir import Kernel, argument, axis, block, end, load, name_of, store
from anneal.kernel.opts import apply, parse
from anneal.kernel.target import CPU
from anneal.uop import dtypes, ops
from anneal.uop.uop import toposort
from tests.kernel.kernels import MAKERS
from tests.kernel.run import check, on_cpu


def counted(kernel: Kernel) -> tuple[list[str], int]:
    """The ranges whose loops end early, and how many STOREs and LOADs are still guarded."""
    body, counts = without_guards(expanded(kernel.body))
    guarded = sum(u.op is ops.LOAD and len(u.src) > 2 or u.op is ops.STORE and len(u.src) > 3
                  for u in toposort([body]))  # fmt: skip
    return sorted(name_of(r) for _, r in counts), guarded


@pytest.mark.parametrize(("name", "lengths", "opts", "early", "guarded"), [
    ("matmul", (25, 3, 4), "SPLIT(i, 8)", ["i%8"], 0),
    ("matmul", (25, 3, 4), "SPLIT(i, 8) THREAD(i/8)", ["i%8"], 0),
    ("matmul", (25, 19, 4), "SPLIT(i, 8) SPLIT(j, 8)", ["i%8", "j%8"], 0),
    ("matmul", (25, 3, 4), "SPLIT(i, 8) REORDER(i%8, i/8)", [], 2),  # inside, i/8 is not known yet
    ("matmul", (25, 19, 4), "SPLIT(j, 16) VECTOR(j%16)", [], 3),  # lanes
    ("matmul", (15, 3, 4), "SPLIT(i, 4) VECTOR(i/4)", [], 2),
    ("row", (8, 14), "SPLIT(r, 3)", ["r%3"], 1),  # its own sums ask for their counts
    ("row", (8, 12), "SPLIT(r, 3) SPLIT(r/3, 3)", ["r/3%3"], 1),
    ("update", (5, 7, 9), "SPLIT(q, 2) SPLIT(i, 3) SPLIT(j, 2)", ["i%3", "j%2", "q%2"], 0),
])  # fmt: skip
def test_whole_iterations(name: str, lengths: tuple[int, ...], opts: str, early: list[str],
                          guarded: int) -> None:  # fmt: skip
    case = MAKERS[name][0](np.random.default_rng(0), *lengths)  # type: ignore[operator]
    kernel = apply(case.kernel, parse(opts), CPU)
    assert counted(kernel) == (early, guarded)
    check(name, kernel, on_cpu(kernel, case.memory), case.expected)


def test_loops_that_would_be_the_same_keep_their_guards() -> None:
    """The same store for 5 counts, and for 7: without guards they would be one."""
    x, y = argument(1, dtypes.float32, 8), argument(0, dtypes.float32, 8)
    r = axis(8, "r")
    both = [end(store(y, r, load(x, r) * 2.0, r < n), r) for n in (5, 7)]
    assert counted(Kernel(block(*both))) == (["r"], 1)
