"""Random programs, a share of those that `python -m tests.random_programs` runs; their reference,
held to what JAX made of some; and how they are made smaller."""

from __future__ import annotations

import signal
from random import Random
from typing import Any

import numpy as np
import pytest

from tests.random_programs import checks, data, reference, runner
from tests.random_programs.choices import Choices, shrink
from tests.random_programs.families import FAMILIES
from tests.records import script

# Half a minute of one core in all.
_COUNTS = {"operations": 100, "indices": 80, "index_dtypes": 100, "buffers": 60, "donation": 160,
           "reductions": 60, "calls": 200}  # fmt: skip
_AT_ONCE = 20


@pytest.mark.parametrize("start, family", [
    (start, family) for family, count in _COUNTS.items() for start in range(0, count, _AT_ONCE)])
def test_random_programs_are_right(start: int, family: str) -> None:
    for number in range(start, min(start + _AT_ONCE, _COUNTS[family])):
        found = runner.run(family, runner.choices(0, family, number), number)
        assert found is None, runner.report(found, 0)


def test_every_family_has_a_share() -> None:
    assert _COUNTS.keys() == FAMILIES.keys()


def test_the_reference_gives_what_jax_gives() -> None:
    record = script("record_jax_programs")
    programs = record.read()
    assert len(programs) > 200
    for text, want in programs:
        got = [g for g in record.results(text, reference, np.asarray) if g.size <= record.MOST]
        for g, w in zip(got, want, strict=True):
            assert not record.differs(g, w), f"{text}\n{g!r}\nin JAX {w!r}"


def test_a_number_and_a_seed_make_a_program_again() -> None:
    for name, family in FAMILIES.items():
        texts = [family(runner.choices(3, name, n)) for n in (5, 5, 6)]
        assert texts[0] == texts[1] != texts[2]


def test_shrinking_finds_few_and_small_choices() -> None:
    def numbers(c: Choices) -> list[int]:
        return [c.number(0, 1000) for _ in range(c.number(0, 20))]

    def fails(c: Choices) -> bool:
        return sum(n > 100 for n in numbers(c)) >= 2

    c = Choices(Random(1))
    while not fails(c):
        c = Choices(Random(sum(c.taken)))
    assert numbers(Choices(None, shrink(c.taken, fails, 10.0))) == [101, 101]


def test_a_difference_is_found_made_smaller_and_printed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def family(c: Choices) -> str:
        return f"values = {[c.number(0, 9) for _ in range(c.number(1, 9))]}\nassert max(values) < 7"

    monkeypatch.setitem(FAMILIES, "buffers", family)
    number = next(n for n in range(99) if runner.run("buffers", runner.choices(0, "buffers", n)))
    runner.work(0, "buffers", [number], None, small=True)
    assert signal.alarm(0) == 0  # nothing ends this process later
    assert "values = [7]" in capfd.readouterr().out
    found: Any = runner.run("buffers", runner.choices(0, "buffers", number), number)
    assert f"--family buffers --start {number}" in runner.report(found, 0)
    assert found.text in runner.report(found, 0)


@pytest.mark.parametrize("wrong", [
    lambda xp, x: (xp.min(xp.square(xp.subtract(x, 0.0625)), 1),),  # not about the mean
    lambda xp, x: (xp.add(xp.min(xp.square(xp.subtract(x, xp.mean(x, 0))), 1), 1e-4),),
])  # fmt: skip
def test_what_rounding_is_amplified_by_is_allowed_and_no_more(
    wrong: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The least squared deviation is near zero: rounding of the mean is a large part of it."""
    x = data.spread(0, 256, 391)

    def program(xp: Any, x: Any) -> Any:
        return (xp.min(xp.square(xp.subtract(x, xp.mean(x, 0))), 1),)

    checks.agree(program, [x], "jit")
    monkeypatch.setattr(checks, "_run", lambda _, inputs, *rest: wrong(reference, *inputs))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        checks.agree(program, [x], "jit")
