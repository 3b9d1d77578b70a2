"""Memo: bounded, and the least recently used goes first."""

from __future__ import annotations

from anneal.memo import Memo


def test_what_was_asked_for_last_stays() -> None:
    made: list[int] = []
    memo: Memo[int, str] = Memo(3)

    def get(n: int) -> str:
        return memo.get(n, lambda: made.append(n) or str(n))

    assert [get(n) for n in (1, 2, 3, 1, 4)] == ["1", "2", "3", "1", "4"]
    assert made == [1, 2, 3, 4] and len(memo) == 3
    assert memo.find(2) is None and memo.find(1) == "1"


def test_the_first_of_two_values_is_everyones() -> None:
    memo: Memo[int, list[int]] = Memo(3)
    first = memo.keep(1, [1])
    assert memo.keep(1, [2]) is first
    memo.clear()
    assert len(memo) == 0
