"""The kernels of a launch as the device's code.

In: jobs, each a grid and guarded statements of the scheduler, and the buffers that they bind. Out:
kernels, shaped by the target's heuristic and written by its renderer.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from anneal import config
from anneal.kernel.decompose import decompose
from anneal.kernel.expand import launches
from anneal.kernel.heuristic import Choices, for_cpu, for_webgpu
from anneal.kernel.ir import Kernel as Nest
from anneal.kernel.ir import kind_of
from anneal.kernel.linearize import linearize, trips
from anneal.kernel.opts import Refused, parse
from anneal.kernel.spec import check_limits, iterations, verify
from anneal.kernel.target import Target
from anneal.llvm import render as native
from anneal.lowering.cost import item_bytes, kernel_flops
from anneal.lowering.kernels import Guarded
from anneal.lowering.limits import Limits, called
from anneal.lowering.nests import kernels_of
from anneal.lowering.passes import Observer, observed
from anneal.memo import Memo
from anneal.stats import count
from anneal.uop.dtypes import DType
from anneal.uop.symbolic import hi
from anneal.uop.uop import UOp, structural_key
from anneal.wgsl import render as wgsl

Job = tuple[tuple[UOp, ...], tuple[Guarded, ...]]


class Unfit(Exception):
    """What is wrong with a kernel, without the line that is to blame."""


@dataclass(frozen=True, slots=True)
class Param:
    """One buffer of a kernel."""

    dtype: DType
    size: int
    access: Literal["read", "read_write"]


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A loop nest as text, and how it took shape: `key` is that of the nest before any Opt, `asked`
    the Opts that were asked for, if they were, and `reasons` the Opts in order, each with the
    reason."""

    key: str
    asked: str | None
    text: str
    reasons: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Kernel:
    """Code for the device. `grid` counts workgroups, or the chunks that threads share, `workgroup`
    invocations in one. `scratch`: bytes that each thread needs; `nests`: its loops."""

    name: str
    source: str
    grid: tuple[int, int, int]
    workgroup: tuple[int, int, int]
    params: tuple[Param, ...]
    flops: int = 0
    scratch: int = 0
    nests: tuple[Scheduled, ...] = ()

    @property
    def bytes(self) -> int:
        """Bytes of all buffers bound, each moved once."""
        return sum(p.size * item_bytes(p.dtype) for p in self.params)

    @property
    def outputs(self) -> tuple[Param, ...]:
        """The buffers that it writes."""
        return tuple(p for p in self.params if p.access == "read_write")

    @property
    def inputs(self) -> tuple[Param, ...]:
        """The buffers that it reads."""
        return tuple(p for p in self.params if p.access == "read")


# A kernel, and what it binds: positions among the params of the schedule's, and beyond.
_Bound = tuple[Kernel, tuple[int, ...]]
_Key = tuple[str, tuple[tuple[int, ...], ...], tuple[Param, ...], Target, Hashable]
_written: Memo[_Key, tuple[_Bound, ...]] = Memo(2048)


def kernels_for(jobs: Sequence[Job], params: tuple[Param, ...], limits: Limits,
                observe: Observer | None = None) -> tuple[_Bound, ...]:  # fmt: skip
    """The device's kernels for jobs of the scheduler that do not wait for each other, written once
    for every structure: one, if it can be."""
    statements = [s for _, parts in jobs for p in parts for s in p.statements]
    conditions = [p.condition for _, parts in jobs for p in parts if p.condition is not None]
    text = structural_key([*(r for grid, _ in jobs for r in grid), *conditions, *statements])
    counts = tuple([(len(grid), *(len(p.statements) for p in parts)) for grid, parts in jobs])
    key = text, counts, params, limits.target, (limits.opts, limits.found)
    known = _written.find(key)
    if known is not None and observe is None:
        return known
    count("kernels_rendered")
    steps, choices = _passes(jobs, len(params), limits, observe)
    flops = sum(kernel_flops(parts) for _, parts in jobs)
    made = _written_kernels(steps, choices, limits, text, flops, observe)
    return _written.keep(key, made)


def kernels_of_nest(c: Choices, limits: Limits) -> tuple[_Bound, ...]:
    """The device's kernels for one nest in shape. Raises Unfit."""
    nest = c.kernel
    return _written_kernels([launches(nest)], [c], limits, nest.key, 0, None)


def _written_kernels(steps: list[list[Nest]], choices: Sequence[Choices], limits: Limits,
                     text: str, flops: int, observe: Observer | None
                     ) -> tuple[_Bound, ...]:  # fmt: skip
    chosen = {nest: c for step, c in zip(steps, choices, strict=True) for nest in step}
    for nest in (nest for step in steps for nest in step):
        if config.verify():
            verify(nest)
        if (problem := _problem(nest, limits.target)) is not None:
            raise Unfit(f"needs {problem}")

    def write(steps: list[list[Nest]]) -> list[_Text]:
        """Kernels as a device's code: rules/kernel.upat, instructions, text."""
        return _TARGETS[limits.target.name][1](steps, limits.target)

    made = []
    for n, launch in enumerate(observed(observe, write, steps)):
        reduces = any(nest.reduces for nest in launch.nests)
        written = {u.arg for nest in launch.nests for u in nest.written}
        bound = {u.arg: Param(u.dtype, int(u.src[0].arg),
                              "read_write" if u.arg in written else "read")
                 for nest in launch.nests for u in nest.params}  # fmt: skip
        kernel = Kernel(f"{'r' if reduces else 'e'}_{text[:6]}_{n}", launch.source, launch.grid,
                        launch.workgroup, tuple([bound[i] for i in launch.binds]),
                        0 if n else flops, launch.scratch,
                        tuple([_scheduled(nest, chosen[nest], limits)
                               for nest in launch.nests]))
        made.append((kernel, launch.binds))
    return tuple(made)


def _scheduled(nest: Nest, c: Choices, limits: Limits) -> Scheduled:
    key = c.given.key
    return Scheduled(key, limits.asked(key), str(nest), c.explained())


def _shaped(nest: Nest, limits: Limits) -> Choices:
    """The nest in the shape that is asked for, else in the one that the heuristic chooses."""
    by_hand, found = limits.by_hand(nest.key), limits.found.lines.get(nest.key)
    if by_hand is not None:
        try:
            return _given(nest, by_hand, "given by hand", limits.target)
        except Refused as e:
            raise Unfit(f"has opts that kernel {nest.name} refuses: {e}") from None
    if found is not None:
        with contextlib.suppress(Refused):  # another machine's word
            return _given(nest, found, "found by a search", limits.target)
    return heuristic(nest, limits.target)


def heuristic(nest: Nest, target: Target) -> Choices:
    """The nest in the shape that the target's heuristic chooses."""
    return _TARGETS[target.name][0](nest, target)


def _given(nest: Nest, line: str, why: str, target: Target) -> Choices:
    """The nest shaped by a line of Opts. Refused where the nest or the target refuses it."""
    c = Choices(nest, target)
    try:
        c.give(why, parse(line))
    except ValueError as e:
        raise Refused(str(e)) from None
    for one in launches(c.kernel):
        if (problem := _problem(one, target)) is not None:
            raise Refused(problem)
    return c


def _problem(nest: Nest, target: Target) -> str | None:
    """Which of the target's limits a kernel exceeds, its loops counted as they will run."""
    problem = check_limits(nest, replace(target, max_loop=None))
    if problem is not None or target.max_loop is None or iterations(nest) <= target.max_loop:
        return problem
    loops = trips(linearize(nest))
    if loops <= target.max_loop:
        return None
    return f"{loops} iterations of an invocation; {target.name} ends them at {target.max_loop}"


def _passes(jobs: Sequence[Job], count: int, limits: Limits,
            observe: Observer | None
            ) -> tuple[list[list[Nest]], list[Choices]]:  # fmt: skip
    """From jobs to kernels in shape, for each nest those that run one after another, and what was
    chosen for it."""
    choices: list[Choices] = []

    def nest(jobs: Sequence[Job]) -> list[Nest]:
        """Statements as kernels: loop nests over named ranges."""
        nests = [made for grid, parts in jobs for made in kernels_of(grid, parts)]
        return [replace(one, name=called(one.key)) for one in nests]

    def shape(nests: list[Nest]) -> list[Nest]:
        """Opts: tiles, vectors, threads, workgroups."""
        choices.extend([_shaped(one, limits) for one in nests])
        return [c.kernel for c in choices]

    def cut(nests: list[Nest]) -> list[list[Nest]]:
        """What all threads or workgroups must have finished is a launch of its own."""
        steps: list[list[Nest]] = []
        first = count
        for one in nests:
            steps.append(launches(one, first))
            first = max([first, *(1 + p.arg for n in steps[-1] for p in n.params)])
        return steps

    nests = observed(observe, nest, jobs)
    return observed(observe, cut, observed(observe, shape, nests)), choices


@dataclass(frozen=True, slots=True)
class _Text:
    """What a device compiles of some nests, and how it is launched."""

    nests: tuple[Nest, ...]
    source: str
    binds: tuple[int, ...]
    grid: tuple[int, int, int]
    workgroup: tuple[int, int, int] = (1, 1, 1)
    scratch: int = 0


def _for_cpu(steps: Sequence[Sequence[Nest]], target: Target) -> list[_Text]:
    """Each nest is a launch: one native call runs all of them."""
    out = []
    for nest in (nest for step in steps for nest in step):
        text = native.render(decompose(nest, target))
        grid = (int(text.chunks.arg), 1, 1)
        out.append(_Text((nest,), text.source, text.params, grid, scratch=text.scratch))
    return out


def _for_webgpu(steps: Sequence[Sequence[Nest]], target: Target) -> list[_Text]:
    """Nests that do not wait for each other are one launch, if their workgroups fit together and
    are few enough for an axis."""
    nests = [nest for step in steps for nest in step]
    groups = sum(math.prod(hi(r.src[0]) for r in nest.ranges if kind_of(r) == "grid")
                 for nest in nests)  # fmt: skip
    together = (len(nests) == len(steps) and groups <= target.max_grid
                and wgsl.fit_together(nests))  # fmt: skip
    out = []
    for mine in [tuple(nests)] if together else [(nest,) for nest in nests]:
        text = wgsl.render(*[decompose(nest, target) for nest in mine])
        x, y, z = (*[int(n.arg) for n in text.groups], 1, 1, 1)[:3]
        a, b, c = text.workgroup
        out.append(_Text(mine, text.source, text.params, (x, y, z), (a, b, c)))
    return out


# For each target its heuristic, and how its kernels become launches.
_Write = Callable[[Sequence[Sequence[Nest]], Target], list[_Text]]
_TARGETS: dict[str, tuple[Callable[[Nest, Target], Choices], _Write]] = {
    "cpu": (for_cpu, _for_cpu),
    "webgpu": (for_webgpu, _for_webgpu),
}
