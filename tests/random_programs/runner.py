"""Runs random programs, a process for some hundred of them, and shows what differs.

`python -m tests.random_programs --seed 0 --count 20000 [--family NAME] [--device NAME] [--jobs 2]`
prints for each family how many ran, how many of these a device refused, and how many differ; then
every kind of difference once, as the smallest program found. Progress is on stderr. `--start N
--count 1` with a family runs the one program again. It exits with 1 if any differ.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from random import Random

from tests.random_programs.choices import Choices, shrink
from tests.random_programs.families import FAMILIES

_AT_ONCE = 250  # programs of one process
_LONGEST = 120  # seconds of one program, before its process is ended
_SECONDS = 25.0  # to make a program smaller
_SHOWN = 3  # differences of a kind that are made smaller and printed


@dataclass(frozen=True, slots=True)
class Difference:
    """A program that failed: its number, the kind and words of the error, its text."""

    family: str
    number: int
    kind: str
    error: str
    text: str


def choices(seed: int, family: str, number: int) -> Choices:
    """What program `number` of a family is made from."""
    return Choices(Random(f"{seed}/{family}/{number}"))


def failure(text: str) -> BaseException | None:
    """The error that running a program's text raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(text, "<program>", "exec"), {"__name__": "program"})
    except Exception as e:
        return e
    return None


def kind_of(error: BaseException) -> str:
    """The error's type and where it comes from: differences of one kind are shown once."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "anneal/" in f.filename
              or "checks.py" in f.filename]  # fmt: skip
    at = frames[-1] if frames else None
    where = f" in {os.path.basename(at.filename)}, {at.name}" if at else ""
    return type(error).__name__ + where


def run(family: str, c: Choices, number: int = 0) -> Difference | None:
    """Makes and runs one program."""
    text = FAMILIES[family](c)
    error = failure(text)
    if error is None:
        return None
    return Difference(family, number, kind_of(error), str(error).strip(), text)


def smallest(found: Difference, c: Choices, say: Callable[[Difference], None]) -> None:
    """Says smaller and smaller programs that fail in the same way: the last is the smallest."""

    def fails(c: Choices) -> bool:
        other = run(found.family, c, found.number)
        if other is None or other.kind != found.kind:
            return False
        say(other)
        return True

    shrink(c.taken, fails, _SECONDS)


def report(found: Difference, seed: int) -> str:
    """A difference as text: what, where, and code that reproduces it."""
    again = f"--seed {seed} --family {found.family} --start {found.number} --count 1"
    return (f"# {found.family} {found.number}: {found.kind}\n"
            f"# again: python -m tests.random_programs {again}\n{found.text}\n{found.error}\n")


# -- one process -----------------------------------------------------------------------------------


def work(seed: int, family: str, numbers: Sequence[int], device: str | None, small: bool) -> None:
    """Runs programs and prints JSON: that one begins, what was found, that it ended. With `small`
    each is made smaller, and all that is found on the way is printed."""
    from tests.random_programs import checks

    def say(found: Difference) -> None:
        print(json.dumps({"found": asdict(found)}), flush=True)

    if device is not None:
        checks.devices[:] = [device]
    try:
        for number in numbers:
            signal.alarm(_LONGEST)
            print(json.dumps({"begin": number}), flush=True)
            before = sum(checks.refused.values())
            c = choices(seed, family, number)
            found = run(family, c, number)
            if found is not None:
                say(found)
                if small:
                    smallest(found, c, say)
            refused = sum(checks.refused.values()) > before
            print(json.dumps({"end": number, "refused": refused}), flush=True)
    finally:
        signal.alarm(0)  # who called goes on


# -- many ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for, for the processes that do it."""

    seed: int
    device: str | None

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A process of Python, whose output is read here."""
        environment = {"ANNEAL_VERIFY": "1", "ANNEAL_CACHE_DIR": "", "OPENBLAS_NUM_THREADS": "1",
                       **os.environ}  # fmt: skip
        return subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, text=True, env=environment)  # fmt: skip

    def worker(self, family: str, first: int, count: int, small: bool) -> subprocess.Popen[str]:
        return self.start(
            "-m", "tests.random_programs", "--worker", "--seed", str(self.seed), "--family",
            family, "--start", str(first), "--count", str(count),
            *(["--device", self.device] if self.device else []), *(["--small"] if small else []),
        )  # fmt: skip


def _results(
    request: Request, family: str, numbers: list[int]
) -> Iterator[tuple[int, bool, Difference | None]]:
    """The number of each program, whether a device refused it, and the difference: of a program
    that ends its process, this."""
    while numbers:
        process = request.worker(family, numbers[0], len(numbers), False)
        assert process.stdout is not None
        found: Difference | None = None
        for line in process.stdout:
            said = json.loads(line)
            if "found" in said:
                found = Difference(**said["found"])
            if "end" in said:
                yield said["end"], said["refused"], found
                numbers, found = numbers[1:], None
        process.wait()
        if numbers:
            text = FAMILIES[family](choices(request.seed, family, numbers[0]))
            died = f"exit {process.returncode}"
            yield numbers[0], False, Difference(family, numbers[0], "the process died", died, text)
            numbers = numbers[1:]


def made_smaller(request: Request, found: Difference) -> Difference:
    """The smallest program found that still fails in a process of its own."""
    process = request.worker(found.family, found.number, 1, True)
    assert process.stdout is not None
    lines = [json.loads(line) for line in process.stdout]
    process.wait()
    smaller = [Difference(**said["found"]) for said in lines if "found" in said]
    for candidate in [*smaller[:-4:-1], found]:
        alone = request.start("-c", candidate.text)
        alone.communicate()
        if alone.returncode:
            return candidate
    note = "(only after other programs in the same process)"
    return replace(found, error=f"{found.error}\n{note}")


def _parts(count: int, start: int, names: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Which programs of which families run together; families take turns."""
    share = -(-count // len(names))
    parts = []
    for first in range(start, start + share, _AT_ONCE):
        last = min(first + _AT_ONCE, start + share)
        parts += [(name, list(range(first, last))) for name in names]
    return parts


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.random_programs",
                                     description="Random programs against NumPy.")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=1000, help="programs in all")
    parser.add_argument("--start", type=int, default=0, help="the first program's number")
    parser.add_argument("--family", choices=sorted(FAMILIES))
    parser.add_argument("--device", choices=["interpreter", "webgpu", "cpu"],
                        help="one, instead of all")  # fmt: skip
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--small", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.worker:
        numbers = range(asked.start, asked.start + asked.count)
        work(asked.seed, asked.family, numbers, asked.device, asked.small)
        return 0
    names = [asked.family] if asked.family else list(FAMILIES)
    request = Request(asked.seed, asked.device)
    ran: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    differ: dict[str, list[Difference]] = {name: [] for name in names}

    def part(of: tuple[str, list[int]]) -> None:
        name, numbers = of
        for _, was_refused, found in _results(request, name, numbers):
            ran[name] += 1
            refused[name] += was_refused
            if found is not None:
                differ[name].append(found)
            total, bad = sum(ran.values()), sum(map(len, differ.values()))
            if total % 100 == 0:
                print(f"{total} programs, {bad} differ", file=sys.stderr)

    with ThreadPoolExecutor(asked.jobs) as pool:
        list(pool.map(part, _parts(asked.count, asked.start, names)))
    for name in names:
        _show(request, differ[name])
    print(f"seed {asked.seed}")
    for name in names:
        print(f"{name:12} {ran[name]:6} ran {refused[name]:6} refused {len(differ[name]):6} differ")
    return 1 if any(differ.values()) else 0


def _show(request: Request, found: Sequence[Difference]) -> None:
    """Some differences of each kind, made smaller, and the numbers of the others."""
    kinds: dict[str, list[Difference]] = {}
    for d in sorted(found, key=lambda d: len(d.text)):
        kinds.setdefault(d.kind, []).append(d)
    for kind, same in kinds.items():
        for d in same[:_SHOWN]:
            print(report(made_smaller(request, d), request.seed), flush=True)
        if same[_SHOWN:]:
            rest = sorted(d.number for d in same[_SHOWN:])
            shown = ", ".join(map(str, rest[:30])) + (", ..." if rest[30:] else "")
            print(f"# {len(rest)} more of {kind}: {shown}\n")
