"""The pool of buffers, with buffers that are counted only."""

from __future__ import annotations

import random
from typing import Any

import pytest

from anneal.wgsl import pool as pools
from anneal.wgsl.pool import Pool


class Buffer:
    def __init__(self, size: int, memory: Memory) -> None:
        self.size, self.memory, self.alive = size, memory, True

    def destroy(self) -> None:
        assert self.alive
        self.alive = False
        self.memory.used -= self.size


class Memory:
    """Room for `most` bytes."""

    def __init__(self, most: int) -> None:
        self.most, self.used = most, 0

    def create(self, size: int) -> Buffer:
        if self.used + size > self.most:
            raise MemoryError
        self.used += size
        return Buffer(size, self)


def test_what_comes_back_is_lent_again() -> None:
    memory = Memory(1000)
    pool = Pool(memory.create)
    shelf: list[Any] = []
    a = pool.acquire(100, shelf)
    pool.release(a, shelf)
    assert pool.acquire(100) is not a  # it waits for its own program
    assert pool.acquire(100, shelf) is a
    pool.release(a)
    assert pool.acquire(100, shelf) is a
    pool.settle()
    assert (pool.live_bytes, pool.peak_bytes, pool.free_bytes) == (200, 200, 0)


def test_free_bytes_are_bounded_and_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "KEPT_BYTES", 300)
    memory = Memory(10_000)
    pool = Pool(memory.create)
    lent = [pool.acquire(100 + 16 * i) for i in range(6)]
    for b in lent:
        pool.release(b)
    pool.settle()
    assert pool.free_bytes <= 300 and pool.live_bytes == 0
    assert memory.used == pool.free_bytes
    assert [b.alive for b in lent] == [False] * 5 + [True]


def test_as_much_is_kept_as_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "KEPT_BYTES", 100)
    pool = Pool(Memory(10_000).create)
    held = pool.acquire(1000)
    for b in [pool.acquire(400), pool.acquire(416)]:
        pool.release(b)
    pool.settle()
    assert pool.free_bytes == 816
    pool.release(held)
    pool.settle()
    assert pool.free_bytes <= 100


def test_without_memory_what_is_free_goes_first() -> None:
    memory = Memory(1000)
    pool = Pool(memory.create)
    a, b = pool.acquire(400), pool.acquire(400)
    pool.release(a)
    c = pool.acquire(500)  # `a` was destroyed for it
    assert memory.used == 900
    with pytest.raises(MemoryError):
        pool.acquire(200)
    pool.release(b)
    pool.release(c)
    assert pool.acquire(960) and memory.used == 960


def test_a_finalizer_in_the_midst_of_a_call_waits() -> None:
    memory = Memory(1000)
    pool = Pool(memory.create)
    a = pool.acquire(160)

    def create(size: int) -> Buffer:
        pool.release(a)  # as the collector may, within the call
        return memory.create(size)

    pool._create = create
    assert pool.acquire(320).size == 320
    assert pool.acquire(160) is a


def test_random_lending_never_lends_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "KEPT_BYTES", 500)
    rng, memory = random.Random(0), Memory(4000)
    pool, shelves = Pool(memory.create), [list[Any]() for _ in range(3)]
    lent: list[tuple[Any, Any]] = []
    for _ in range(5000):
        if lent and rng.random() < 0.5:
            b, shelf = lent.pop(rng.randrange(len(lent)))
            pool.release(b, shelf)
        else:
            n = rng.randrange(9)
            shelf, size = shelves[n] if n < len(shelves) else None, 16 * (n + 1)
            try:
                b = pool.acquire(size, shelf)
            except MemoryError:
                continue
            assert b.alive and b.size == size and all(b is not o for o, _ in lent)
            lent.append((b, shelf))
        pool.settle()
        assert pool.live_bytes == sum(b.size for b, _ in lent)
        assert memory.used == pool.live_bytes + pool.free_bytes
