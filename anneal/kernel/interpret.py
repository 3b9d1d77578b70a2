"""The meaning of a kernel, in NumPy: the oracle of this level.

In: a kernel, and an array for each ARG. Out: the arrays as the kernel leaves them. Every range is
an array axis, but one that carries memory, which is a loop. What a device would do silently is an
error here: an index outside of its memory, two counts that write one element, an element read and
written that no edge orders.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from anneal.interpret import apply_elementwise, extreme, numpy_dtype
from anneal.kernel.ir import EFFECTS, Kernel, free, memory_of, name_of, size_of, waits
from anneal.uop import ops
from anneal.uop.uop import UOp, toposort

Data = np.ndarray[Any, Any]


class KernelError(RuntimeError):
    """What a kernel may not do: read or write outside of its memory, or in an order left open."""


@dataclass(slots=True)
class _Frame:
    """Ranges that are array axes, the number of each, and the counts of those that are loops; what
    is known there."""

    axes: tuple[UOp, ...]
    sizes: tuple[int, ...]
    counts: Mapping[UOp, int]
    lanes: int  # how many of the axes an END binds: each count of them is on its own
    opened: frozenset[UOp] = frozenset()  # what it binds, perhaps anew
    known: dict[UOp, Data] = field(default_factory=dict)


@dataclass(slots=True)
class _Access:
    """Elements of a memory read, or written, by a node, and by which counts of the axes."""

    node: UOp
    elements: Data
    lanes: Data
    nest: int


def interpret(kernel: Kernel, memory: Mapping[int, Data],
              variables: Mapping[str, int] | None = None) -> dict[int, Data]:  # fmt: skip
    """Each ARG's flat array after the kernel ran; `memory` is not changed. Raises KernelError.

    >>> from anneal.kernel.ir import argument, axis, end, load, store
    >>> from anneal.uop import dtypes
    >>> i = axis(4, "i")
    >>> x, y = argument(0, dtypes.float32, 4), argument(1, dtypes.float32, 4)
    >>> twice = Kernel(end(store(y, i, load(x, i) * 2.0), i))
    >>> interpret(twice, {0: np.arange(4, dtype="f"), 1: np.zeros(4, "f")})[1].tolist()
    [0.0, 2.0, 4.0, 6.0]
    """
    return _Interpreter(kernel, memory, variables or {}).run()


class _Interpreter:
    def __init__(self, kernel: Kernel, memory: Mapping[int, Data],
                 variables: Mapping[str, int]) -> None:  # fmt: skip
        self.kernel, self.carried = kernel, kernel.carried
        self.variables = variables
        self.memory = {p: np.array(memory[p.arg], numpy_dtype(p.dtype)).ravel()
                       for p in kernel.params}  # fmt: skip
        self.reads: dict[UOp, list[_Access]] = {}
        self.writes: dict[UOp, list[_Access]] = {}
        self.below: dict[UOp, frozenset[UOp]] = {}
        self.done: set[tuple[UOp, tuple[tuple[UOp, int], ...]]] = set()
        self.nest = 0

    def run(self) -> dict[int, Data]:
        frame = _Frame((), (), {}, 0)
        for p, data in self.memory.items():
            size = int(self._scalar(size_of(p), frame))
            if size > data.size:
                raise KernelError(f"a{p.arg} has {data.size} elements; the kernel says {size}")
        with np.errstate(all="ignore"):
            self._effect(self.kernel.body, [frame])
        return {p.arg: data for p, data in self.memory.items()}

    def _scalar(self, u: UOp, frame: _Frame) -> Any:
        return self._value(u, [frame]).item()

    # -- effects ------------------------------------------------------------------------------

    def _effect(self, u: UOp, frames: list[_Frame]) -> None:
        counts = frames[-1].counts
        once = (u, tuple((r, counts[r]) for r in counts if r in free(u)))
        if once in self.done:
            return
        self.done.add(once)
        for e in waits(u):
            if free(e) <= {*frames[-1].axes, *counts}:
                self._effect(e, frames)
        if u.op is ops.BLOCK:
            for e in u.src:
                self._effect(e, frames)
        elif u.op is ops.STORE:
            self._store(u, frames)
        else:
            self._end(u, frames)

    def _end(self, u: UOp, frames: list[_Frame]) -> None:
        if len(frames) == 1:
            self.nest += 1
        loops = [r for r in u.src[1:] if r in self.carried]
        lanes = [r for r in u.src[1:] if r not in self.carried]
        inner = self._opened(lanes, frames, lanes=True)
        for e in waits(u.src[0]):
            if free(e) <= {*inner[-1].axes, *inner[-1].counts}:
                self._effect(e, inner)
        sizes = [int(self._value(r.src[0], frames).item()) for r in loops]
        for counts in np.ndindex(*sizes):
            now = dict(zip(loops, map(int, counts), strict=True))
            top = inner[-1]
            frame = _Frame(top.axes, top.sizes, {**top.counts, **now}, top.lanes,
                           frozenset(loops))  # fmt: skip
            self._effect(u.src[0], [*inner, frame])

    def _opened(self, ranges: Sequence[UOp], frames: list[_Frame], lanes: bool = False
                ) -> list[_Frame]:  # fmt: skip
        """`frames`, and one with these ranges as axes."""
        top = frames[-1]
        sizes = [int(self._value(r.src[0], frames).item()) for r in ranges]
        count = len(ranges) + len(top.axes) if lanes else top.lanes
        return [*frames, _Frame((*top.axes, *ranges), (*top.sizes, *sizes), top.counts, count,
                                frozenset(ranges))]  # fmt: skip

    def _store(self, u: UOp, frames: list[_Frame]) -> None:
        memory, index, value, *gate = u.src
        place, shape = memory_of(u), frames[-1].sizes
        for e in memory.src[1:] if memory.op is ops.AFTER else ():
            if e.op is ops.LOAD:
                self._value(e, frames)
        where = np.broadcast_to(self._value(index, frames), shape)
        what = np.broadcast_to(self._value(value, frames), shape)
        on = np.broadcast_to(self._value(gate[0], frames), shape) if gate else np.ones(shape, bool)
        elements, lanes = where[on], np.arange(math.prod(shape)).reshape(shape)[on]
        self._check_inside(place, elements, u)
        if len(np.unique(elements)) < elements.size:
            raise KernelError(f"counts write the same element of {_name(place)}, in\n{self.kernel}")
        access = _Access(u, elements, lanes, self.nest)
        self._check_unread(place, access, memory)
        self.memory[place][elements] = what[on]
        self.writes.setdefault(place, []).append(access)

    def _check_inside(self, place: UOp, elements: Data, u: UOp) -> None:
        size = self.memory[place].size
        if elements.size and not 0 <= elements.min() <= elements.max() < size:
            outside = elements[(elements < 0) | (elements >= size)][0]
            raise KernelError(f"{u.op} at {outside} of {_name(place)}, which has {size} elements, "
                              f"in\n{self.kernel}")  # fmt: skip

    def _ordered(self, u: UOp) -> frozenset[UOp]:
        """All that is below `u`, and so before it."""
        found = self.below.get(u)
        if found is None:
            found = self.below[u] = frozenset(toposort([u]))
        return found

    def _check_unread(self, place: UOp, now: _Access, memory: UOp) -> None:
        """No count may have read, without an edge, what another one writes here."""
        before = self._ordered(now.node)
        edges = {s for s in memory.src[1:]} if memory.op is ops.AFTER else set()
        for then in self.reads.get(place, ()):
            if then.nest != now.nest and (then.node in before or self._is_past(then.node, edges)):
                continue
            alone = then.node in before or then.node in edges
            if _meet(then, now, same_count=alone):
                raise KernelError(f"{_name(place)} is read and written without an edge, "
                                  f"in\n{self.kernel}")  # fmt: skip

    def _is_past(self, node: UOp, edges: set[UOp]) -> bool:
        return any(e is node or e.op in EFFECTS and node in self._ordered(e) for e in edges)

    # -- values -------------------------------------------------------------------------------

    def _value(self, root: UOp, frames: list[_Frame]) -> Data:
        """The value with an array axis for every axis of the innermost frame."""
        top = frames[-1]
        todo = [root]
        while todo:
            u = todo[-1]
            if self._known(u, frames) is not None:
                todo.pop()
                continue
            sources = self._needed(u)
            pending = [s for s in sources if self._known(s, frames) is None]
            if pending:
                todo += reversed(pending)
                continue
            top.known[u] = self._computed(u, [self._whole(s, frames) for s in sources], frames)
            todo.pop()
        return self._whole(root, frames)

    def _known(self, u: UOp, frames: list[_Frame]) -> Data | None:
        for f in reversed(frames):
            found = f.known.get(u)
            if found is not None:
                return found
            if not f.opened.isdisjoint(free(u)):
                return None
        return None

    def _whole(self, u: UOp, frames: list[_Frame]) -> Data:
        """What is known of `u`, with axes of length 1 for those opened since."""
        for f in reversed(frames):
            found = f.known.get(u)
            if found is not None:
                if u.op is ops.STAGE:
                    more = len(frames[-1].axes) - (found.ndim - 1)
                    return found.reshape((*found.shape[:-1], *[1] * more, found.shape[-1]))
                return found.reshape((*found.shape, *[1] * (len(frames[-1].axes) - found.ndim)))
        raise KeyError(u)

    def _needed(self, u: UOp) -> tuple[UOp, ...]:
        """The sources whose values `u` is computed from, in its own frame."""
        if u.op in (ops.RANGE, ops.REDUCE, ops.STAGE):
            return ()
        if u.op is ops.LOAD:
            kept = memory_of(u)
            return (*u.src[2:], u.src[1], *((kept,) if kept.op is ops.STAGE else ()))
        return u.src

    def _computed(self, u: UOp, src: list[Data], frames: list[_Frame]) -> Data:
        top = frames[-1]
        if u.op is ops.RANGE:
            if u in top.counts and u not in top.axes:
                return np.full([1] * len(top.axes), top.counts[u], np.int64)
            number = len(top.axes) - 1 - top.axes[::-1].index(u)
            shape = [n if i == number else 1 for i, n in enumerate(top.sizes)]
            return np.arange(top.sizes[number]).reshape(shape)
        if u.op is ops.VAR:
            return np.full([1] * len(top.axes), self.variables[u.arg[0]], np.int64)
        if u.op is ops.REDUCE:
            return self._reduced(u, frames)
        if u.op is ops.STAGE:
            return self._staged(u, frames)
        if u.op is ops.LOAD:
            return self._load(u, src, frames)
        if u.op is ops.OPAQUE:
            return src[0]
        out = apply_elementwise(u, src)
        return out.reshape([1] * len(top.axes)) if out.ndim < len(top.axes) else out

    def _reduced(self, u: UOp, frames: list[_Frame]) -> Data:
        inner = self._opened(u.src[1:], frames)
        value = np.broadcast_to(self._value(u.src[0], inner), self._spread(u.src[0], inner))
        last = tuple(range(len(frames[-1].axes), value.ndim))
        how = u.arg[0]
        if u.dtype.kind == "b":
            return np.asarray((value.any if how in ("add", "max") else value.all)(last))
        fn = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}[how]
        start = int(how == "mul") if how in ("add", "mul") else extreme(u.dtype, how == "max")
        return np.asarray(fn.reduce(value, last, initial=start, dtype=numpy_dtype(u.dtype)))

    def _spread(self, u: UOp, frames: list[_Frame]) -> tuple[int, ...]:
        """The shape of the value with the newest axes in full."""
        have = self._value(u, frames).shape
        old = len(frames[-2].axes)
        return (*have[:old], *frames[-1].sizes[old:])

    def _staged(self, u: UOp, frames: list[_Frame]) -> Data:
        inner = self._opened(u.src[1:], frames)
        shape = self._spread(u.src[0], inner)
        value = np.broadcast_to(self._value(u.src[0], inner), shape)
        outer = shape[: len(frames[-1].axes)]
        where = np.zeros(shape[len(outer) :], np.int64)
        for i, n in enumerate(u.arg[1]):
            sizes = [-1 if k == i else 1 for k in range(where.ndim)]
            where = where + n * np.arange(where.shape[i]).reshape(sizes)
        if len(np.unique(where)) < where.size:
            raise KernelError(f"counts fill the same element of a STAGE, in\n{self.kernel}")
        out = np.zeros((*outer, int(size_of(u).arg)), value.dtype)
        out[..., where.ravel()] = value.reshape((*outer, -1))
        return out

    def _load(self, u: UOp, src: list[Data], frames: list[_Frame]) -> Data:
        place = memory_of(u)
        gated = len(u.src) > 2
        index = src[2] if gated else src[0]
        on, other = (src[0], src[1]) if gated else (np.True_, None)
        safe = np.where(on, index, 0)
        if place.op is ops.STAGE:
            kept = src[-1]
            shape = np.broadcast_shapes(safe.shape, kept.shape[:-1])
            size = kept.shape[-1]
            if safe.size and not 0 <= safe.min() <= safe.max() < size:
                raise KernelError(f"LOAD outside of a STAGE of {size}, in\n{self.kernel}")
            whole = np.broadcast_to(kept, (*shape, size))
            at = np.broadcast_to(safe, shape)
            found = np.take_along_axis(whole, at[..., None], -1)[..., 0]
        else:
            found = self._read(u, place, index, on, safe, frames)
        return found if other is None else np.where(on, found, other)

    def _read(self, u: UOp, place: UOp, index: Data, on: Any, safe: Data,
              frames: list[_Frame]) -> Data:  # fmt: skip
        top = frames[-1]
        inner = np.broadcast_shapes(index.shape, np.shape(on))[top.lanes :]
        whole = (*top.sizes[: top.lanes], *inner)
        where, mask = np.broadcast_to(index, whole), np.broadcast_to(on, whole)
        elements = where[mask]
        self._check_inside(place, elements, u)
        count = math.prod(top.sizes[: top.lanes])
        lanes = np.arange(count).reshape((*top.sizes[: top.lanes],
                                          *[1] * (len(whole) - top.lanes)))  # fmt: skip
        access = _Access(u, elements, np.broadcast_to(lanes, whole)[mask], self.nest)
        before = self._ordered(u)
        edges = u.src[0].src[1:] if u.src[0].op is ops.AFTER else ()
        carried = any(e.op is ops.RANGE for e in edges)
        for then in self.writes.get(place, ()):
            if then.node in before and then.nest != self.nest:
                continue
            if then.node in before and any(
                e.op is ops.END and then.node in self._ordered(e) for e in edges
            ):
                continue  # a nest that has ended
            if _meet(then, access, same_count=then.node in before or carried):
                raise KernelError(f"{_name(place)} is written and read without an edge, "
                                  f"in\n{self.kernel}")  # fmt: skip
        self.reads.setdefault(place, []).append(access)
        return self.memory[place][safe]


def _meet(a: _Access, b: _Access, same_count: bool) -> bool:
    """Whether both touch an element; with `same_count`, by different counts of their nest."""
    shared = np.intersect1d(a.elements, b.elements)
    if not shared.size:
        return False
    if not same_count or a.nest != b.nest:
        return True
    pairs = {(int(e), int(n)) for x in (a, b) for e, n in zip(x.elements, x.lanes, strict=True)
             if e in shared}  # fmt: skip
    return len(pairs) > shared.size


def _name(place: UOp) -> str:
    return f"a{place.arg}" if place.op is ops.ARG else f"a STAGE of {name_of(place.src[1])}"
