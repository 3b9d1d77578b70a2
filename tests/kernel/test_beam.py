"""The search for Opts, on the kernels' interpreter with costs that are counted: no device."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace

import pytest

from anneal.kernel import beam
from anneal.kernel.beam import Ranked, neighbours, plainly_counted, search, shaped
from anneal.kernel.heuristic import for_cpu, for_webgpu
from anneal.kernel.interpret import interpret
from anneal.kernel.ir import Kernel, argument, axis, end, kind_of, load, reduce, store
from anneal.kernel.opts import apply, parse
from anneal.kernel.spec import check_kinds, check_limits, iterations, operations, verify
from anneal.kernel.target import CPU, SOFTWARE, Target
from anneal.uop import dtypes, ops
from tests.kernel.run import check
from tests.kernel.schedules import random_case

F = dtypes.float32
TARGETS = [CPU, replace(SOFTWARE, lanes=2, max_local=16)]


def product(n: int) -> Kernel:
    i, j, k = axis(n, "i"), axis(n, "j"), axis(n, "k")
    c, a, b = (argument(p, F, n * n) for p in range(3))
    total = reduce("add", load(a, i * n + k) * load(b, k * n + j), k)
    return Kernel(end(store(c, i * n + j, total), i, j))


def counted(kernel: Kernel, limit: float) -> float:
    """Iterations of loops on two threads, and the text that saves them."""
    chunks = [int(r.src[0].arg) for r in kernel.ranges if kind_of(r) in ("thread", "grid")]
    return iterations(kernel) * max(math.prod(chunks), 2) / 2 + 8.0 * operations(kernel)


GOOD = "SPLIT(j, 16) VECTOR(j%16) SPLIT(k, 4) UNROLL(k%4) THREAD(i)"


def test_it_finds_what_is_known_to_be_good() -> None:
    kernel = product(64)
    known = counted(apply(kernel, parse(GOOD), CPU), 0)
    found = search(kernel, CPU, [()], counted, 2, 400)
    assert found[0].cost <= known < counted(kernel, 0) / 100
    assert any(kind_of(r) == "vector" for r in found[0].kernel.ranges)
    assert found == sorted(found, key=lambda r: r.cost)
    assert len(found) == 2


def test_it_finds_the_same_again() -> None:
    runs = [search(product(32), CPU, [()], counted, 2, 100) for _ in range(2)]
    assert runs[0] == runs[1]


def test_it_is_never_worse_than_its_starts() -> None:
    kernel = product(48)
    start = for_cpu(kernel, CPU).kernel
    for budget in (1, 2, 3, 50):
        found = search(kernel, CPU, [start.opts, ()], counted, 2, budget)
        assert found[0].cost <= counted(start, 0)


def test_the_budget_is_kept_and_told() -> None:
    told: list[tuple[int, float]] = []
    calls = itertools.count(1)
    measured: list[int] = []

    def measure(kernel: Kernel, limit: float) -> float:
        measured.append(next(calls))
        return counted(kernel, limit)

    best = search(product(32), CPU, [()], measure, 2, 37, lambda n, cost: told.append((n, cost)))
    assert measured == [n for n, _ in told] == list(range(1, 38))
    assert [cost for _, cost in told] == sorted([cost for _, cost in told], reverse=True)
    assert told[-1][1] == best[0].cost


def test_a_search_ends_where_nothing_is_left() -> None:
    y, x = argument(0, F, 1), argument(1, F, 1)
    kernel = Kernel(store(y, axis(1, "i").src[0] * 0, load(x, axis(1, "i").src[0] * 0)))
    count = 0

    def measure(kernel: Kernel, limit: float) -> float:
        nonlocal count
        count += 1
        return 1.0

    assert search(kernel, CPU, [(), ()], measure, 4, 1000) == [Ranked(kernel, 1.0)]
    assert count == 1


def test_who_cannot_be_measured_is_left_out() -> None:
    assert search(product(16), CPU, [()], lambda kernel, limit: None, 2, 20) == []

    def no_vectors(kernel: Kernel, limit: float) -> float | None:
        vectors = any(kind_of(r) == "vector" for r in kernel.ranges)
        return None if vectors else counted(kernel, limit)

    found = search(product(64), CPU, [()], no_vectors, 2, 200)
    assert not any(kind_of(r) == "vector" for k in found for r in k.kernel.ranges)
    assert found[0].cost < counted(product(64), 0)


def test_no_kernel_is_measured_twice() -> None:
    seen: set[str] = set()

    def measure(kernel: Kernel, limit: float) -> float:
        key = beam._key(kernel)
        assert key not in seen
        seen.add(key)
        return counted(kernel, limit)

    search(product(32), CPU, [(), (), parse("LOOP(i)")], measure, 3, 150)
    assert len(seen) == 150


def test_the_limit_is_some_times_the_best() -> None:
    least = math.inf

    def measure(kernel: Kernel, limit: float) -> float:
        nonlocal least
        assert limit == least * beam._HOPELESS
        least = min(least, counted(kernel, limit))
        return counted(kernel, limit)

    search(product(32), CPU, [()], measure, 1, 60)


@pytest.mark.parametrize("target", TARGETS, ids=["cpu", "webgpu"])
@pytest.mark.parametrize("seed", range(3))
def test_refused_opts_never_escape(target: Target, seed: int) -> None:
    """Whatever is measured is legal, comes of its Opts, and means the same."""
    rng = random.Random(seed)
    heuristic = for_cpu if target is CPU else for_webgpu
    for _ in range(4):
        name, case = random_case(rng)

        def measure(kernel: Kernel, limit: float, name: str = name, case: object = case) -> float:
            verify(kernel)
            assert check_kinds(kernel, target) is None
            assert check_limits(kernel, replace(target, max_loop=None)) is None
            again = shaped(case.kernel, kernel.opts, target)  # type: ignore[attr-defined]
            assert again is not None and again.body is kernel.body
            check(name, kernel, interpret(kernel, case.memory), case.expected)  # type: ignore[attr-defined]
            return rng.random()

        start = heuristic(case.kernel, target).kernel.opts
        within = check_limits(case.kernel, replace(target, max_loop=None)) is None
        found = search(case.kernel, target, [(), start], measure, 3, 40)
        assert found or not within


def test_neighbours_change_one_thing() -> None:
    kernel = shaped(product(64), parse("SPLIT(i, 8) UNROLL(i%8) SPLIT(j, 16) VECTOR(j%16)"), CPU)
    assert kernel is not None
    near = {" ".join(map(str, line)) for line in neighbours(kernel, CPU)}
    assert "SPLIT(j, 16) VECTOR(j%16)" in near  # without i's parts
    assert "SPLIT(i, 8) SPLIT(j, 16) VECTOR(j%16)" in near
    assert "SPLIT(i, 4) UNROLL(i%4) SPLIT(j, 16) VECTOR(j%16)" in near
    assert "SPLIT(i, 8) UNROLL(i%8) SPLIT(j, 32) VECTOR(j%32)" in near  # which will be refused
    assert "SPLIT(i, 8) UNROLL(i%8) SPLIT(j, 16) UNROLL(j%16)" in near
    assert any(line.endswith("THREAD(i/8)") for line in near)
    assert any(line.endswith("STAGE(2, j/16, j%16, k)") for line in near)
    assert any("GROUP(k%8) VECTOR(k%8)" in line for line in near)


def test_names_of_parts_follow_their_split() -> None:
    line = parse("SPLIT(i, 8) SPLIT(i%8, 2) SPLIT(i/8, 8) UNROLL(i%8/2) MERGE(i/8/8, j) LOOP(i%80)")
    assert " ".join(map(str, beam._split_by(line, 0, 16))) == (
        "SPLIT(i, 16) SPLIT(i%16, 2) SPLIT(i/16, 8) UNROLL(i%16/2) MERGE(i/16/8, j) LOOP(i%80)"
    )
    assert " ".join(map(str, beam._without(line, 2))) == (
        "SPLIT(i, 8) SPLIT(i%8, 2) UNROLL(i%8/2) LOOP(i%80)"
    )
    assert beam._without(line, 0) == parse("LOOP(i%80)")


def test_long_sums_are_cut_whatever_is_searched() -> None:
    x, y, k = argument(1, F, 60_000), argument(0, F, 1), axis(60_000, "k")
    kernel = Kernel(store(y, k.src[0] * 0, reduce("add", load(x, k), k)))

    def measure(kernel: Kernel, limit: float) -> float:
        longest = max(math.prod(int(r.src[0].arg) for r in u.src[1:] if kind_of(r) == "loop")
                      for u in kernel.nodes if u.op is ops.REDUCE)  # fmt: skip
        assert longest <= 512
        return counted(kernel, limit)

    search(kernel, CPU, [(), for_cpu(kernel, CPU).kernel.opts], measure, 2, 60)


def test_no_more_sums_run_at_once_than_there_are_registers() -> None:
    most = 0

    def measure(kernel: Kernel, limit: float) -> float:
        nonlocal most
        most = max(most, beam._accumulators(kernel))
        return 1.0 / (1 + beam._accumulators(kernel))

    search(product(64), CPU, [()], measure, 2, 150)
    assert CPU.registers / 2 <= most <= CPU.registers
    tile = parse("SPLIT(i, 8) UNROLL(i%8) SPLIT(j, 8) UNROLL(j%8)")  # who knows a better one
    search(product(64), CPU, [tile], measure, 2, 150)
    assert most == 64


def test_what_only_says_who_counts() -> None:
    kernel = product(8)
    assert " ".join(map(str, plainly_counted(kernel, SOFTWARE))) == "GRID(i) GRID(j)"
    i = axis(1 << 20, "i")
    long = Kernel(end(store(argument(0, F, 1 << 20), i, load(argument(1, F, 1 << 20), i)), i))
    opts = plainly_counted(long, SOFTWARE)
    assert check_limits(apply(long, opts, SOFTWARE), SOFTWARE) is None
    assert plainly_counted(product(8), CPU) == parse("THREAD(i) THREAD(j)")
