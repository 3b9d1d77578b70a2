"""Opts keep the meaning of a kernel, and what would not is refused with its reason."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from anneal.kernel.interpret import interpret
from anneal.kernel.ir import (
    Kernel,
    after,
    argument,
    axis,
    block,
    end,
    load,
    name_of,
    reduce,
    stage,
    store,
)
from anneal.kernel.opts import Refused, apply, parse
from anneal.kernel.spec import verify
from anneal.kernel.target import CPU, WEBGPU, Target
from anneal.uop import dtypes, ops
from anneal.uop.uop import UOp
from tests.kernel.kernels import EXACT, Case, matmul, polynomial, row, scatter, total, update
from tests.kernel.run import on_cpu
from tests.kernel.schedules import random_case, random_schedule


def check(kernel: Kernel, case: Case, exact: bool = True) -> None:
    got = interpret(kernel, case.memory)
    for position, expected in case.expected.items():
        if exact:
            np.testing.assert_array_equal(got[position], expected)
        else:
            np.testing.assert_allclose(got[position], expected, rtol=1e-5)


@pytest.mark.parametrize("target", [CPU, WEBGPU], ids=lambda t: t.name)
@pytest.mark.parametrize("seed", range(8))
def test_random_opts_keep_the_meaning(target: Target, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(25):
        name, case = random_case(rng)
        kernel, _ = random_schedule(rng, case.kernel, target)
        verify(kernel)
        try:
            check(kernel, case, name.partition("(")[0] in EXACT)
        except AssertionError as e:
            raise AssertionError(f"{name}: {' '.join(map(str, kernel.opts))}\n{kernel}") from e


TILED = ("SPLIT(i, 8) SPLIT(j, 48) SPLIT(j%48, 16) VECTOR(j%48%16) UNROLL(i%8) UNROLL(j%48/16) "
         "SPLIT(k, 16) THREAD(i/8) REORDER(i/8, j/48, i%8, j%48/16, j%48%16) CACHE(k/16, j/48) "
         "STAGE(2, k%16, j%48/16, j%48%16)")  # fmt: skip


def test_a_schedule_of_all_that_a_matrix_product_needs() -> None:
    case = matmul(np.random.default_rng(0), 61, 130, 50)
    kernel = apply(case.kernel, parse(TILED), CPU)
    verify(kernel)
    assert " ".join(map(str, kernel.opts)) == TILED
    check(kernel, case)


@pytest.mark.parametrize(
    ("make", "lengths", "target", "opts", "reason"),
    [
        (scatter, (5, 3, 4), CPU, "THREAD(i)", "i carries memory"),
        (scatter, (5, 3, 4), CPU, "SPLIT(i, 2)", "i carries memory"),
        (polynomial, (8,), CPU, "GRID(i)", "cpu has no grid ranges"),
        (polynomial, (8,), CPU, "VECTOR(j)", "no range is called j; there are i"),
        (polynomial, (12,), CPU, "VECTOR(i)", "no vectors of 12 lanes"),
        (total, (64,), CPU, "VECTOR(i) THREAD(i)", "no vectors of 64 lanes"),
        (matmul, (4, 4, 4), CPU, "VECTOR(i) VECTOR(j)", "vectors of one value"),
        (matmul, (4, 4, 4), CPU, "GROUP(k)", "no reduction is over k and another range"),
        (matmul, (4, 4, 4), CPU, "STAGE(0, i)", "no LOAD of argument 0"),
        (update, (4, 4, 4), WEBGPU, "GRID(i)", "must be past what an edge waits for"),
        (update, (4, 4, 4), CPU, "STAGE(1, q)", "argument 1 is written, too"),
        (polynomial, (1000,), WEBGPU, "LOCAL(i)", "1000 invocations of a workgroup"),
        (polynomial, (70_000,), WEBGPU, "GRID(i)", "a grid axis to 65535"),
        (polynomial, (70_000,), WEBGPU, "LOOP(i)", "ends them at 65535"),
        (polynomial, (8,), CPU, "CUT(i, 8)", "which 8 does not cut"),
    ],
)
def test_refusals_say_why(make: object, lengths: tuple[int, ...], target: Target, opts: str,
                          reason: str) -> None:  # fmt: skip
    case = make(np.random.default_rng(0), *lengths)  # type: ignore[operator]
    with pytest.raises(Refused, match=reason):
        apply(case.kernel, parse(opts), target)


def test_what_parallel_counts_would_write_twice_is_refused() -> None:
    """A histogram's element, chosen by data; a sum stored for every term."""
    out, x = argument(0, dtypes.float32, 8), argument(1, dtypes.int32, 8)
    i = axis(8, "i")
    chosen = Kernel(end(store(out, load(x, i).cast(dtypes.index), x.const_like(1).cast(
        dtypes.float32)), i))  # fmt: skip
    with pytest.raises(Refused, match="every count of i would write the same element"):
        apply(chosen, parse("THREAD(i)"), CPU)
    j = axis(4, "j")
    overlapping = Kernel(end(store(out, i + j, load(x, i).cast(dtypes.float32)), i, j))
    with pytest.raises(Refused, match="meet in one element"):
        apply(overlapping, parse("THREAD(i)"), CPU)


def test_a_range_of_one_count_meets_no_other() -> None:
    case = matmul(np.random.default_rng(0), 5, 48, 3)
    check(apply(case.kernel, parse("SPLIT(j, 48) SPLIT(j%48, 16) VECTOR(j%48%16)"), CPU), case)


def test_a_loop_over_a_row_stays_outside_of_others_over_it() -> None:
    case = row(np.random.default_rng(0), 4, 6)
    with pytest.raises(Refused, match="r would be counted inside of itself"):
        apply(case.kernel, parse("REORDER(r, i)"), CPU)
    with pytest.raises(Refused, match="r/2 would be counted inside of itself"):
        apply(case.kernel, parse("SPLIT(r, 2) REORDER(r/2, i, r%2)"), CPU)


def test_what_several_loops_compute_is_kept_once() -> None:
    case = row(np.random.default_rng(0), 5, 37)
    kept = apply(case.kernel, parse("KEEP(r) SPLIT(r.0, 8) VECTOR(r.0%8)"), CPU)
    assert sum(u.op is ops.STAGE for u in kept.nodes) == 1
    check(kept, case)
    with pytest.raises(Refused, match="no loops over i compute the same"):
        apply(case.kernel, parse("KEEP(i)"), CPU)


def test_loops_that_fill_memory_count_ranges_of_their_own() -> None:
    case = row(np.random.default_rng(0), 5, 37)
    text = "KEEP(r) APART(r) SPLIT(r.1, 8) VECTOR(r.1%8) SPLIT(r, 4) GROUP(r%4) VECTOR(r%4)"
    check(apply(case.kernel, parse(text), CPU), case)
    with pytest.raises(Refused, match="one loop is over i"):
        apply(case.kernel, parse("APART(i)"), CPU)


def test_what_is_written_is_not_kept() -> None:
    """The loop that stores changes what another would read of the STAGE."""
    x = argument(0, dtypes.float32, 8)
    r = axis(8, "r")
    e = load(x, r) * 2.0
    body = end(store(after(x, load(x, r)), r, e * reduce("add", e, r)), r)
    with pytest.raises(Refused, match="no loops over r"):
        apply(Kernel(body), parse("KEEP(r)"), CPU)


def test_opts_are_read_as_they_print() -> None:
    assert " ".join(map(str, parse(TILED))) == TILED
    with pytest.raises(ValueError, match="expected Opts such as"):
        parse("SPLIT i 8")
    with pytest.raises(ValueError, match="expected Opts such as"):
        parse("SPLAT(i, 8)")


def test_a_name_that_an_opt_makes_may_be_split_again() -> None:
    case = total(np.random.default_rng(0), 100)
    opts = parse("SPLIT(i, 16) SPLIT(i%16, 4) GROUP(i%16/4) GROUP(i%16%4) VECTOR(i%16%4)")
    kernel = apply(case.kernel, opts, CPU)
    check(kernel, case)
    assert [r.arg[0] for r in kernel.ranges] == ["i%16/4", "i%16%4", "i/16"]


def test_reductions_by_threads_are_partial_results() -> None:
    x, out = argument(1, dtypes.float32, 64), argument(0, dtypes.float32, 1)
    i, j = axis(8, "i"), axis(8, "j")
    kernel = Kernel(store(out, i.const_like(0), reduce("add", load(x, i * 8 + j), i, j)))
    with pytest.raises(Refused, match="group the reduction by"):
        apply(kernel, parse("THREAD(i)"), CPU)


def test_a_range_that_is_bound_again_inside_stays() -> None:
    """x - max(x): the maximum runs over the range that the result does."""
    i = axis(16, "i")
    x, y = argument(0, dtypes.float32, 16), argument(1, dtypes.float32, 16)
    top = reduce("max", load(x, i), i)
    kept = stage(load(x, i) - top, i)
    kernel = Kernel(end(store(y, i, load(kept, i) + top), i))
    data = np.random.default_rng(0).integers(-4, 5, 16).astype(np.float32)
    memory = {0: data, 1: np.zeros(16)}
    for opts in ("UNROLL(i)", "CUT(i, 5)", "SPLIT(i, 4) UNROLL(i%4)", "SPLIT(i, 4) VECTOR(i%4)"):
        target = CPU
        try:
            shaped = apply(kernel, parse(opts), target)
        except Refused:
            continue
        np.testing.assert_array_equal(interpret(shaped, memory)[1], data)
        np.testing.assert_array_equal(on_cpu(shaped, memory)[1], data)


def copy_transposed(n: int, m: int) -> Kernel:
    x, y = argument(1, dtypes.float32, n * m), argument(0, dtypes.float32, n * m)
    i, j = axis(n, "i"), axis(m, "j")
    return Kernel(end(store(y, j * n + i, load(x, i * m + j)), i, j))


def test_counts_of_ranges_made_one_do_not_meet() -> None:
    """Quotient and remainder of a merged range say what it counts; parts of splits of splits, too,
    where each has a rest."""
    for n, m in ((5, 7), (1000, 1000), (1021, 66)):
        for opts in ("MERGE(i, j) GRID(i*j)" if n < 1000 else
                     "SPLIT(i, 16) UNROLL(i%16) SPLIT(j, 16) SPLIT(j/16, 8) LOCAL(j/16%8)",
                     "SPLIT(j, 4) SPLIT(j/4, 8) LOCAL(j/4%8) GRID(i)"):  # fmt: skip
            apply(copy_transposed(n, m), parse(opts), replace(WEBGPU, max_loop=None))


@pytest.mark.parametrize("index", [
    lambda r: r // 4, lambda r: r % 4, lambda r: r % 4 + r // 8 * 4, lambda r: r % 8 + r // 4 * 4])
def test_counts_with_a_digit_missing_or_twice_meet(index: Callable[[UOp], UOp]) -> None:
    y, r = argument(0, dtypes.float32, 64), axis(64, "r")
    kernel = Kernel(end(store(y, index(r), r.cast(dtypes.float32)), r))
    with pytest.raises(Refused, match="meet|same element"):
        apply(kernel, parse("LOCAL(r)"), WEBGPU)


def test_ranges_of_their_own_have_names_of_their_own() -> None:
    """Also where a kernel has such names already."""
    x, *outs = (argument(n, dtypes.float32, 5) for n in range(4))
    ranges = axis(5, "r"), axis(5, "r.0"), axis(5, "r")
    body = block(*[end(store(y, r, load(x, r) * 2.0), r)
                   for y, r in zip(outs, ranges, strict=True)])  # fmt: skip
    kernel = apply(Kernel(body), parse("APART(r)"), CPU)
    verify(kernel)
    assert sorted(map(name_of, kernel.ranges)) == ["r.0", "r.1", "r.2"]


def test_a_reduction_is_in_no_loop_over_its_own_range() -> None:
    i, k = axis(6, "i"), axis(8, "k")
    y, x = argument(0, dtypes.float32, 48), argument(1, dtypes.float32, 48)
    row = load(x, i * 8 + k)
    rows = Kernel(end(store(y, i * 8 + k, row / reduce("add", row, k)), i, k))
    with pytest.raises(Refused, match="k would be counted inside of itself"):
        apply(rows, parse("REORDER(k, i)"), CPU)
    with pytest.raises(Refused, match="k/4 would be counted inside of itself"):
        apply(rows, parse("SPLIT(k, 4) REORDER(k/4, i, k%4)"), CPU)
    assert apply(rows, parse("SPLIT(k, 4) REORDER(i, k%4, k/4)"), CPU)
    assert apply(rows, parse("SPLIT(k, 4) GROUP(k%4) VECTOR(k%4) SPLIT(i, 2) UNROLL(i%2)"), CPU)
