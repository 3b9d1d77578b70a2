"""The plan of a graph on a device: as lowered before, as lowered now, or after a search.

In: a device that loads plans, a graph, limits. Out: its Plan. Where a search is asked for, each
kernel that has no result yet is searched on the device itself, with random data: what differs from
the kernel as no Opt has touched it is dropped, and what seems best is timed once more by turns with
the heuristic's choice, which stays unless the other is faster. A result is kept as soon as it is
there, so an interrupt loses the search of one kernel.
"""

from __future__ import annotations

import contextlib
import math
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from anneal.device import DeviceError, Executable, read
from anneal.kernel.beam import plainly_counted, search
from anneal.kernel.decompose import decompose
from anneal.kernel.heuristic import Choices
from anneal.kernel.ir import Kernel as Nest
from anneal.kernel.linearize import Across, Barrier, Loop, linearize
from anneal.kernel.opts import Refused
from anneal.kernel.spec import iterations, operations
from anneal.lowering import cache, searches
from anneal.lowering.code import Unfit, heuristic, kernels_of_nest
from anneal.lowering.cost import item_bytes
from anneal.lowering.limits import Limits
from anneal.lowering.passes import Step
from anneal.lowering.plan import Launch, Plan, Slot, lower
from anneal.profiling import Profile
from anneal.stats import count
from anneal.uop import dtypes
from anneal.uop.dtypes import DType
from anneal.uop.uop import Graph

if TYPE_CHECKING:
    import numpy as np

# Measurements for each kernel of the beam: as many as some kernels have neighbours.
_BUDGET = 64
# Seconds that compiling a candidate may take; operations that would take them, and places where
# invocations wait for each other, which a software renderer compiles to as many functions.
_SLOW, _MOST_OPERATIONS, _MOST_WAITS = 2.0, 1 << 12, 6
# Runs of a candidate, and seconds after which there are no more.
_RUNS, _ENOUGH = 5, 0.2
# Seconds of a kernel that are a launch's: nothing is to be gained.
_LAUNCH = 15e-6
# Turns of a candidate and of the heuristic's choice, seconds after which there are no more, and
# what a candidate may take of the other's time to be better, beyond doubt.
_TURNS, _LONG, _BETTER = 15, 2.0, 0.97
# How far results may lie apart, as a part of the largest: sums are added up in another order.
_APART = {dtypes.float32: 1e-4, dtypes.float64: 1e-9, dtypes.float16: 2e-2, dtypes.bfloat16: 2e-2}
# Iterations of a kernel as no Opt has touched it, which one thread runs in less than a second.
_LONGEST = 1 << 24

_searching = threading.RLock()


class Tunable(Protocol):
    """A device that runs plans; `driver`: what it is, and what else a kernel's time depends on."""

    @property
    def driver(self) -> str: ...

    def upload(self, data: np.ndarray[Any, Any]) -> Any: ...

    def load(self, plan: Plan) -> Executable: ...


def plan_of(device: Tunable, graph: Graph, donate: frozenset[int], limits: Limits,
            width: int) -> Plan:  # fmt: skip
    """The plan of `graph`; `width`, if it is not 0, of the search for what has no result yet."""
    limits = replace(limits, found=searches.found(device.driver))
    key = cache.key_of(graph, limits, sorted(donate))
    plan = cache.load(graph, key)
    if plan is not None and not _is_current(plan, limits):
        plan = None
    if width and (plan is None or _unsearched(plan, limits)):
        _search_all(device, _nests(graph, donate, limits), limits, width)
        limits = replace(limits, found=searches.found(device.driver))
        plan = None if plan is None or not _is_current(plan, limits) else plan
    if plan is None:
        plan = lower(graph, limits, donate)
        cache.store(key, plan)
    return plan


def _is_current(plan: Plan, limits: Limits) -> bool:
    """Whether its kernels are shaped by what is known now."""
    return all(limits.asked(s.key) == s.asked for x in plan.launches for s in x.kernel.nests)


def _unsearched(plan: Plan, limits: Limits) -> bool:
    return any(limits.asked(s.key) is None for x in plan.launches for s in x.kernel.nests)


def _nests(graph: Graph, donate: frozenset[int], limits: Limits) -> list[Nest]:
    """The kernels of a graph as no Opt has touched them, those that nothing is known of."""
    found: dict[str, Nest] = {}

    def note(step: Step) -> None:
        if step.name == "nest":
            found.update({nest.key: nest for nest in step.after})

    lower(graph, limits, donate, note)
    return [nest for key, nest in found.items() if limits.asked(key) is None]


def _search_all(device: Tunable, nests: Sequence[Nest], limits: Limits, width: int) -> None:
    with _searching, _progress(len(nests) * width * _BUDGET) as report:
        for n, nest in enumerate(nests):
            done = n * width * _BUDGET
            if searches.find(device.driver, nest.key) is None:
                tune(device, nest, limits, width,
                     lambda k, name=nest.name: report(done + k, name))  # type: ignore[misc]  # noqa: B023
            report((n + 1) * width * _BUDGET, nest.name)


def tune(device: Tunable, nest: Nest, limits: Limits, width: int,
         report: Callable[[int], None] = lambda done: None) -> None:  # fmt: skip
    """Searches the Opts of one kernel, and keeps the result."""
    chosen = heuristic(nest, limits.target)
    with contextlib.suppress(DeviceError), _bench(device, nest, chosen, limits) as bench:
        before = bench(chosen.kernel, math.inf)
        if before is None:
            return
        line = " ".join(map(str, chosen.kernel.opts))
        if before < _LAUNCH:
            searches.keep(device.driver, nest.key, line, before, before)
            return
        ranked = search(nest, limits.target, [chosen.kernel.opts, ()], bench, width,
                        width * _BUDGET, lambda done, cost: report(done))  # fmt: skip
        shapes = [r.kernel for r in ranked if r.kernel.body is not chosen.kernel.body]
        times = bench.by_turns([chosen.kernel, *shapes], _TURNS, _LONG)
        least = min(range(len(times)), key=times.__getitem__)
        if times[least] < times[0] * _BETTER:
            line = " ".join(map(str, shapes[least - 1].opts))
        else:
            least = 0
        searches.keep(device.driver, nest.key, line, times[least], times[0])
        count("kernels_searched")


# -- measuring -------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Bench:
    """One kernel's data on a device, and what it must make of them."""

    device: Tunable
    nest: Nest
    chosen: Nest
    limits: Limits
    inputs: list[Any] = field(default_factory=list)
    expected: list[np.ndarray[Any, Any]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def __call__(self, kernel: Nest, limit: float) -> float | None:
        """Seconds that a shape of the kernel takes on the device; more than `limit` is not measured
        exactly. None where it does not compile, takes too long to, or differs."""
        if kernel.body is not self.chosen.body and _compiles_slowly(kernel, self.limits):
            return None
        start = time.perf_counter()
        run = self.loaded(kernel)
        if run is None:
            return None
        results = [read(r) for r in run.run(self.inputs)]
        if time.perf_counter() - start > _SLOW + limit:  # some drivers compile at the first run
            return None
        if not self._agrees(results):
            self.failed.append(f"{' '.join(map(str, kernel.opts))!r} computes something else")
            return None
        best, spent = math.inf, 0.0
        for _ in range(_RUNS):
            seconds = run.timed(self.inputs)
            best, spent = min(best, seconds), spent + seconds
            if best > limit or spent > _ENOUGH:
                break
        return best

    def loaded(self, kernel: Nest) -> _Loaded | None:
        """A shape of the kernel; None where the device does not take it. What goes wrong with one
        that nobody asked for is told, and no error."""
        try:
            plan = _plan(self.nest, kernel, self.limits)
            return _Loaded(self.device.load(plan), frozenset(x.kernel.name for x in plan.launches))
        except (Unfit, Refused):
            return None
        except Exception as e:
            self.failed.append(f"{' '.join(map(str, kernel.opts))!r} does not compile: {e!r:.200}")
            return None

    def by_turns(self, kernels: Sequence[Nest], turns: int, most: float) -> list[float]:
        """The least seconds of each; they run by turns, so that what disturbs one disturbs all.
        No more turns begin after `most` seconds."""
        runs = [self.loaded(kernel) for kernel in kernels]
        best = [math.inf] * len(runs)
        start = time.perf_counter()
        for turn in range(turns):
            if turn > 2 and time.perf_counter() - start > most:
                break
            for n, run in enumerate(runs):
                if run is not None:
                    best[n] = min(best[n], run.timed(self.inputs))
        return best

    def _agrees(self, results: Sequence[np.ndarray[Any, Any]]) -> bool:
        return all(_is_near(got.ravel()[: want.size], want)
                   for got, want in zip(results, self.expected, strict=True))  # fmt: skip


@contextlib.contextmanager
def _bench(device: Tunable, nest: Nest, chosen: Choices, limits: Limits) -> Iterator[_Bench]:
    """Data for `nest`, random, and what it makes of them where no Opt has touched it but for who
    counts: positive ones where others make numbers that are none."""
    plain = Choices(nest, limits.target)
    if iterations(nest) > min(_LONGEST, limits.target.max_loop or _LONGEST):
        plain.give("who counts", plainly_counted(nest, limits.target))
    bench = _Bench(device, nest, chosen.kernel, limits)
    for signs in (True, False):
        bench.inputs = [device.upload(_random(p.dtype, int(p.src[0].arg), n, signs))
                        for n, p in enumerate(nest.params)]  # fmt: skip
        run = bench.loaded(plain.kernel) or bench.loaded(chosen.kernel)
        bench.expected = [] if run is None else [read(r).ravel() for r in run.run(bench.inputs)]
        if all(_are_numbers(x) for x in bench.expected):
            break
    yield bench
    if bench.failed:
        warnings.warn(f"kernel {nest.name}: {len(bench.failed)} candidates of its search were "
                      f"dropped; the first, by {bench.failed[0]}; please report this program",
                      stacklevel=2)  # fmt: skip


def _compiles_slowly(kernel: Nest, limits: Limits) -> bool:
    plain = decompose(kernel, limits.target)
    return operations(plain) > _MOST_OPERATIONS or _waits(plain) > _MOST_WAITS


def _waits(kernel: Nest) -> int:
    """Results that invocations of a workgroup combine, and memory that they share."""
    todo, found = list(linearize(kernel)), 0
    while todo:
        one = todo.pop()
        found += isinstance(one, Across | Barrier)
        todo += one.body if isinstance(one, Loop) else []
    return found


def _plan(nest: Nest, kernel: Nest, limits: Limits) -> Plan:
    """A call of `nest` in a shape: what it writes is a copy of what it is given."""
    shaped = Choices(nest, limits.target)
    shaped.kernel = kernel
    inputs = [Slot(p.dtype, int(p.src[0].arg), "input", n) for n, p in enumerate(nest.params)]
    place = {p.arg: n for n, p in enumerate(nest.params)}
    slots = list(inputs)
    outputs = []
    for p in nest.params:
        if p in nest.written:
            slots.append(replace(inputs[place[p.arg]], kind="output", position=-1,
                                 alias=place[p.arg]))  # fmt: skip
            outputs.append(len(slots) - 1)
            place[p.arg] = len(slots) - 1
    made = []
    for one, binds in kernels_of_nest(shaped, limits):
        for position, bound in zip(binds, one.params, strict=True):
            if position not in place:  # what one launch leaves for the next
                place[position] = len(slots)
                words = -(-bound.size * item_bytes(bound.dtype) // 4)
                slots.append(Slot(dtypes.uint32, words, "temp"))
        made.append(Launch(one, tuple([place[n] for n in binds])))
    return Plan(tuple(slots), tuple(made), tuple(outputs))


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A shape of a kernel, ready to run, and what its launches are called."""

    run: Executable
    names: frozenset[str]

    def timed(self, inputs: Sequence[Any]) -> float:
        """The seconds that the launches of a run took."""
        with Profile() as p:
            self.run(inputs)
        return math.fsum(row["seconds"] for row in p.rows if row["name"] in self.names)


def _random(dtype: DType, size: int, seed: int, signs: bool) -> np.ndarray[Any, Any]:
    """Elements such as programs have: floats around 0, or above it; small numbers, that may be
    positions; bits."""
    import numpy as np

    from anneal.interpret import numpy_dtype

    rng = np.random.default_rng(seed)
    kind = numpy_dtype(dtype)
    if dtype.is_float:
        floats = rng.standard_normal(size, np.float32)
        return (floats if signs else np.abs(floats)).astype(kind)
    if dtype is dtypes.uint32 or dtype.kind == "b":
        return rng.integers(0, 2 if dtype.kind == "b" else 1 << 32, size, np.uint64).astype(kind)
    return rng.integers(0, 64, size, np.int64).astype(kind)


def _are_numbers(x: np.ndarray[Any, Any]) -> bool:
    """Whether most of them are finite: equal NaNs prove nothing."""
    import numpy as np

    floats = x.astype(np.float64) if x.dtype.kind not in "biu" else x
    return bool(np.isfinite(floats).mean() > 0.9) if x.size else True


def _is_near(got: np.ndarray[Any, Any], want: np.ndarray[Any, Any]) -> bool:
    """Whether floats are equal but for their order of addition, and all else equal."""
    import numpy as np

    apart = _APART.get(dtypes.by_name(want.dtype.name))
    if apart is None:
        return bool(np.array_equal(got, want))
    ours, theirs = got.astype(np.float64), want.astype(np.float64)
    largest = np.abs(theirs[np.isfinite(theirs)]).max(initial=0.0)
    with np.errstate(all="ignore"):
        return bool(np.allclose(ours, theirs, apart, apart * largest, equal_nan=True))


# -- progress --------------------------------------------------------------------------------------


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[int, str], None]]:
    """How far the searches are: a bar with the time left, on a terminal."""
    if not total or sys.stderr is None or not sys.stderr.isatty():
        yield lambda done, name: None
        return
    from rich import progress
    from rich.console import Console

    columns = (progress.TextColumn("{task.description}"), progress.BarColumn(),
               progress.MofNCompleteColumn(), progress.TimeRemainingColumn())  # fmt: skip
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("searching", total=total)
        yield lambda done, name: bar.update(task, completed=done,
                                            description=f"searching kernel {name}")  # fmt: skip
