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
import subprocess
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

from tests.random_programs.choices import Choices, shrink
from tests.random_programs.families import FAMILIES

_AT_ONCE = 250  # programs of one process
_SECONDS = 20.0  # to make a program smaller


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


def smallest(found: Difference, c: Choices, seconds: float = _SECONDS) -> Difference:
    """A smaller program that fails in the same way."""
    best = [found]

    def fails(c: Choices) -> bool:
        other = run(found.family, c, found.number)
        if other is None or other.kind != found.kind:
            return False
        best.append(other)
        return True

    record = shrink(c.taken, fails, seconds)
    again = run(found.family, Choices(None, record), found.number)
    return again or best[-1]


def report(found: Difference, seed: int) -> str:
    """A difference as text: what, where, and code that reproduces it."""
    again = f"--seed {seed} --family {found.family} --start {found.number} --count 1"
    return (f"# {found.family} {found.number}: {found.kind}\n"
            f"# again: python -m tests.random_programs {again}\n{found.text}\n{found.error}\n")


# -- one process -----------------------------------------------------------------------------------


def work(seed: int, family: str, numbers: Sequence[int], device: str | None, small: bool) -> None:
    """Runs programs and prints a line of JSON before and after each."""
    from tests.random_programs import checks

    if device is not None:
        checks.devices[:] = [device]
    shown: Counter[str] = Counter()
    for number in numbers:
        print(json.dumps({"begin": number}), flush=True)
        before = sum(checks.refused.values())
        c = choices(seed, family, number)
        found = run(family, c, number)
        if found is not None and small and shown[found.kind] < 2:
            shown[found.kind] += 1
            found = smallest(found, c)
        refused = sum(checks.refused.values()) > before
        said = asdict(found) if found is not None else None
        print(json.dumps({"end": number, "refused": refused, "found": said}), flush=True)


# -- many ------------------------------------------------------------------------------------------


def _chunk(
    seed: int, family: str, numbers: list[int], device: str | None, small: bool
) -> Iterator[dict[str, Any]]:
    """The results of programs run in processes of their own: one that dies is a difference."""
    environment = {"ANNEAL_VERIFY": "1", "ANNEAL_CACHE_DIR": "", "OPENBLAS_NUM_THREADS": "1",
                   **os.environ}  # fmt: skip
    while numbers:
        command = [sys.executable, "-m", "tests.random_programs", "--worker", "--seed", str(seed),
                   "--family", family, "--start", str(numbers[0]), "--count", str(len(numbers)),
                   *(["--device", device] if device else []), *(["--small"] if small else [])]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                   text=True, env=environment)  # fmt: skip
        assert process.stdout is not None
        begun = None
        for line in process.stdout:
            said = json.loads(line)
            if "begin" in said:
                begun = said["begin"]
            else:
                begun, numbers = None, numbers[1:]
                yield said
        if process.wait() and begun is None and numbers:
            begun = numbers[0]
        if begun is not None:
            text = FAMILIES[family](choices(seed, family, begun))
            found = Difference(family, begun, "the process died", f"exit {process.returncode}",
                               text)  # fmt: skip
            yield {"end": begun, "refused": False, "found": asdict(found)}
            numbers = numbers[1:]


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
    parser.add_argument("--device", choices=["interpreter", "webgpu"], help="one, instead of both")
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side")
    parser.add_argument("--small", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    numbers = list(range(asked.start, asked.start + asked.count))
    if asked.worker:
        work(asked.seed, asked.family, numbers, asked.device, asked.small)
        return 0
    names = [asked.family] if asked.family else list(FAMILIES)
    ran: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    differ: dict[str, list[Difference]] = {name: [] for name in names}

    def part(of: tuple[str, list[int]]) -> None:
        name, these = of
        for said in _chunk(asked.seed, name, these, asked.device, True):
            ran[name] += 1
            refused[name] += said["refused"]
            if said["found"]:
                differ[name].append(Difference(**said["found"]))
            total, bad = sum(ran.values()), sum(map(len, differ.values()))
            if total % 50 == 0:
                print(f"{total} programs, {bad} differ", file=sys.stderr)

    with ThreadPoolExecutor(asked.jobs) as pool:
        list(pool.map(part, _parts(asked.count, asked.start, names)))
    for name in names:
        _show(differ[name], asked.seed)
    print(f"seed {asked.seed}")
    for name in names:
        print(f"{name:12} {ran[name]:6} ran {refused[name]:6} refused {len(differ[name]):6} differ")
    return 1 if any(differ.values()) else 0


def _show(found: Sequence[Difference], seed: int) -> None:
    """Each kind of difference by its shortest programs, and the numbers of the others."""
    kinds: dict[str, list[Difference]] = {}
    for d in found:
        kinds.setdefault(d.kind, []).append(d)
    for same in kinds.values():
        same.sort(key=lambda d: (len(d.text), d.number))
        for d in same[:3]:
            print(report(d, seed))
        if same[3:]:
            rest = ", ".join(str(n) for n in sorted(d.number for d in same[3:])[:20])
            print(f"# {len(same) - 3} more like this: {rest}\n")
