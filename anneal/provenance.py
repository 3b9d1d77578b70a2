"""Where a value comes from: the lines of the user's program that asked for it.

A node is interned: the same expression on another line, or in another program, is the same node. So
no node has lines; tables have them.

* What depends on a trace's arguments is that trace's alone, and an eager expression is whoever's
  who holds it: one weak table.
* What else is made in a trace, constants above all, is in a table of the trace (`recording`): other
  programs make the same nodes. What it captures keeps its lines if it is computed from data; a
  constant is of the line that reads it. Nodes of Bodies, which programs share, are told so, too.
* A Graph has the lines of its nodes and its Bodies', and who transforms one carries them
  (`Table`). Plans outlive graphs and are shared by all of one structure: they name nodes by
  position, and `Lines` are those of the graph in hand.

A node may have been made on several lines: it then has them all, until its value is computed; who
makes the expression after that is another program.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextvars import ContextVar, Token
from typing import Generic, NamedTuple, TypeVar

from anneal.uop import ops
from anneal.uop.call import all_nodes, inlined, within
from anneal.uop.uop import Graph, Origin, Origins, UOp, substitute, toposort

T = TypeVar("T", bound=Hashable)

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_CLI = _PACKAGE + "cli" + os.sep  # the train commands are programs like a user's
_is_ours: dict[str, bool] = {}
# Lines that one node may have, the first ones: a program that repeats itself stays linear.
_MOST_LINES = 64
# What nobody computes: given, or written into whatever reads it.
_GIVEN = frozenset({ops.CONST, ops.PARAM, ops.BUFFER, ops.VAR})


def user_origin() -> Origin | None:
    """The file and line of the innermost frame outside this package."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        ours = _is_ours.get(file)
        if ours is None:
            ours = file.startswith(_PACKAGE) and not file.startswith(_CLI)
            _is_ours[file] = ours
        if not ours:
            return Origin(file, frame.f_lineno)
        frame = frame.f_back  # type: ignore[assignment]
    return None


def frames_to_user() -> int:
    """How many calls up from the caller the user's code is: a warning's stacklevel."""
    frame, count = sys._getframe(1), 1
    while frame.f_back is not None and _is_ours.get(frame.f_code.co_filename, True):
        if not frame.f_code.co_filename.startswith(_PACKAGE):
            break
        frame, count = frame.f_back, count + 1
    return count


# -- lines of nodes that are being made ------------------------------------------------------------


class _Told(tuple[Origin, ...]):
    """Lines of a node whose graph is closed, to be run."""

    __slots__ = ()


class _Entry(weakref.ref[UOp]):
    """The lines of a node, for as long as it lives."""

    __slots__ = ("key", "origins")
    key: int
    origins: Origins


# By id: a lookup for every node that is made or read.
_known: dict[int, _Entry] = {}


def _forget(entry: _Entry, known: dict[int, _Entry] = _known) -> None:
    if known.get(entry.key) is entry:
        del known[entry.key]


class recording:  # noqa: N801  (used as a function)
    """For the time of a `with`, lines of what depends on no argument are in a table of its own;
    `alone`: what the program around it knows does not count. `told`: the tables of lines of Bodies
    that it has."""

    __slots__ = ("__weakref__", "_token", "found", "outer", "told")
    _token: Token[weakref.ref[recording] | None]

    def __init__(self, alone: bool = False) -> None:
        self.found: dict[UOp, Origins] = {}
        self.told: dict[int, Mapping[UOp, Origins]] = {}
        self.outer = None if alone else _trace()

    def __enter__(self) -> None:
        self._token = _ambient.set(weakref.ref(self))

    def __exit__(self, *_: object) -> None:
        _ambient.reset(self._token)


# Weak: an interrupt between `set` and the body of the `with` leaves nothing behind.
_ambient: ContextVar[weakref.ref[recording] | None] = ContextVar("trace", default=None)


def _trace() -> recording | None:
    held = _ambient.get()
    return None if held is None else held()


def lines_of(u: UOp) -> Origins:
    """The lines that made `u`, as far as the program in progress knows."""
    return tuple(_look(u, _trace()) or ())  # no longer _Told: for other nodes


def made(u: UOp) -> None:
    """Notes that the user's line now makes `u`, and whatever of it no line has made."""
    if u.op not in _GIVEN:
        origin = user_origin()
        if origin is not None:
            note(u, (origin,))


def note(u: UOp, origins: Origins) -> None:
    """Notes that `origins` make `u` (too), and whatever of it no line has made."""
    if not origins or u.op in _GIVEN:
        return
    trace = _trace()
    known = _look(u, trace)
    if known is None:
        _spread(u, origins, trace)
        return
    if type(known) is not _Told:
        new = [o for o in origins if o not in known] if len(known) < _MOST_LINES else ()
        if not new:
            return
        origins = (*known, *new)
    todo = [u]
    while todo:  # what the call that made `u` made with it
        n = todo.pop()
        if _look(n, trace) is known:
            _set(n, origins, trace)
            todo += n.src


def derive(new: UOp, old: UOp, phase: str, rule: str | None = None) -> None:
    """Notes that the lines of `old` make, in `phase`, what of `new` no line has made."""
    trace = _trace()
    if new.op not in _GIVEN and _look(new, trace) is None:
        origins = _look(old, trace) or ()
        if origins:
            derived = [Origin(file, line, phase, rule) for file, line, _, _ in origins]
            _spread(new, tuple(dict.fromkeys(derived)), trace)


def carry(old: UOp, new: UOp) -> None:
    """Notes the lines of `old` for `new`, which stands for it."""
    if new is not old:
        note(new, lines_of(old))


def called(graph: Graph, args: Iterable[UOp]) -> list[UOp]:
    """`graph.call(args)`: part of the program in progress, on the graph's own lines."""
    lines = graph.lines
    if _is_news(lines):
        for u in within(graph.nodes()):
            note(u, lines.get(u, ()))
    return graph.call(args, lambda old, new: note(new, lines.get(old, ())))


def called_derivative(graph: Graph, args: Iterable[UOp], nodes: Sequence[UOp]) -> list[UOp]:
    """`called` for the derivative of a Body, whose lines are those of the Body's, by position in
    `nodes`."""

    def lines(u: UOp) -> Origins:
        found = {Origin(o.file, o.line, *(at[2:] if at.phase != "forward" else o[2:])): None
                 for at in graph.lines.get(u, ()) for o in lines_of(nodes[at.line])}  # fmt: skip
        return tuple(found)

    if _is_news(graph.lines):
        for u in within(graph.nodes()):
            note(u, lines(u))
    return graph.call(args, lambda old, new: note(new, lines(old)))


def by_position(nodes: Iterable[UOp]) -> None:
    """Notes of each of `nodes` its position in the place of lines."""
    for i, u in enumerate(nodes):
        note(u, (Origin("", i),))


def _is_news(lines: Mapping[UOp, Origins]) -> bool:
    """Whether the trace in progress has not been told these; outside of traces they are."""
    trace = _trace()
    if trace is None:
        return True
    known = len(trace.told)
    trace.told[id(lines)] = lines
    return len(trace.told) > known


def tell(order: Iterable[UOp]) -> dict[UOp, Origins]:
    """The lines of nodes, sources first, whose graph is now closed, and of the Bodies in it.
    Outside of traces it runs now, and who makes them after that is another program."""
    trace = _trace()
    order = list(order)
    found: dict[UOp, Origins] = {}
    told: dict[int, Origins] = {}
    data: set[UOp] = set()
    for u in (*within(order), *order):
        if u.op is ops.BUFFER or any(s in data for s in u.src):
            data.add(u)
        known = _look(u, trace)
        if known is None:
            continue
        found[u] = tuple(known)
        entry = None if trace is not None or u.traced else _known.get(id(u))
        if entry is None:
            continue
        if u not in data:
            _known.pop(id(u), None)  # a constant, which who reads it writes again
        elif type(entry.origins) is not _Told:
            entry.origins = told.setdefault(id(entry.origins), _Told(entry.origins))
    return found


def _look(u: UOp, trace: recording | None) -> Origins | None:
    entry = _known.get(id(u))
    if u.traced or trace is None:
        return None if entry is None else entry.origins
    table: recording | None = trace
    while table is not None:
        known = table.found.get(u)
        if known is not None:
            return known
        table = table.outer
    # Of eager expressions those that the trace captured, not constants that others made as well.
    if entry is None or not any(n.op is ops.BUFFER for n in toposort([u])):
        return None
    known = trace.found[u] = tuple(entry.origins)
    return known


def _set(u: UOp, origins: Origins, trace: recording | None) -> None:
    if trace is not None and not u.traced:
        trace.found[u] = origins
        return
    entry = _known.get(id(u))
    if entry is not None:
        entry.origins = origins
        return
    entry = _Entry(u, _forget)
    entry.key, entry.origins = id(u), origins
    _known[entry.key] = entry


def _spread(u: UOp, origins: Origins, trace: recording | None) -> None:
    """Sets the lines of `u`, which has none, and of what of it has none."""
    todo = [u]
    while todo:
        n = todo.pop()
        _set(n, origins, trace)
        for s in n.src:
            if s.op not in _GIVEN and _look(s, trace) is None:
                todo.append(s)


# -- arguments -------------------------------------------------------------------------------------


class Argument(NamedTuple):
    """What a PARAM stands for: "argument x of f", the line that traced f, whether that is over."""

    name: str
    origin: Origin | None
    ended: bool = False


_arguments: weakref.WeakKeyDictionary[UOp, Argument] = weakref.WeakKeyDictionary()
_by_number: weakref.WeakValueDictionary[int, UOp] = weakref.WeakValueDictionary()


def argument(p: UOp) -> Argument | None:
    """What `p` stands for, if it is a PARAM of a trace."""
    return _arguments.get(p)


def set_argument(p: UOp, what: Argument) -> None:
    _arguments[p] = what
    _by_number[p.traced] = p


def newest_argument(u: UOp) -> UOp | None:
    """Of the PARAMs below `u` that stand for an argument the newest, if that is the newest of all:
    `u` is part of its trace, or was."""
    return _by_number.get(u.traced)


# -- lines of graphs -------------------------------------------------------------------------------


class Table(Generic[T]):
    """What nodes come from (lines, or positions in another graph), while graphs become others."""

    __slots__ = ("_found",)

    def __init__(self, found: Mapping[UOp, tuple[T, ...]] | None = None) -> None:
        # A tuple may be several nodes'; a dict, for what grows, is one node's.
        self._found: dict[UOp, tuple[T, ...] | dict[T, None]] = dict(found or {})

    def of(self, u: UOp) -> tuple[T, ...]:
        return tuple(self._found.get(u, ()))

    def carry(self, old: UOp, new: UOp) -> None:
        """`new` stands for `old`: it comes from the same, as does what of it is new."""
        if new is not old:
            self.add(new, self._found.get(old, ()))

    def add(self, u: UOp, origins: Iterable[T]) -> None:
        """`u` comes from `origins` (too), as does what of it is new."""
        if not origins or u.op in _GIVEN:
            return
        found = self._found
        known = found.get(u)
        if known is None:
            origins = tuple(origins)
            todo = [u]
            while todo:
                n = todo.pop()
                if n.op not in _GIVEN and n not in found:
                    found[n] = origins
                    todo += n.src
        elif known is not origins and (len(known) > 1 or tuple(origins) != known):
            if isinstance(known, tuple):
                known = found[u] = dict.fromkeys(known)
            known.update(dict.fromkeys(origins))

    def whole(self) -> dict[UOp, tuple[T, ...]]:
        """All of it."""
        return {u: tuple(origins) for u, origins in self._found.items()}


def substituted(roots: Iterable[UOp], mapping: Mapping[UOp, UOp],
                lines: Mapping[UOp, Origins]) -> tuple[list[UOp], dict[UOp, Origins]]:  # fmt: skip
    """`substitute(roots, mapping)`, and the lines of its nodes by those of the old ones."""
    new_lines = Table[Origin]()
    roots = substitute(roots, mapping, lambda old, new: new_lines.add(new, lines.get(old, ())))
    for u in within(toposort(roots)):
        new_lines.add(u, lines.get(u, ()))
    return roots, new_lines.whole()


def without_calls(graph: Graph) -> Graph:
    """`graph` with the nodes of Bodies in the place of CALLs."""
    if not any(u.op is ops.CALL for u in graph.nodes()):
        return graph
    lines = Table[Origin]()
    outputs = inlined(graph.outputs, lambda old, new: lines.add(new, graph.lines.get(old, ())))
    return Graph(graph.inputs, tuple(outputs), lines.whole())


class Lines:
    """The lines of a graph, asked for by positions in its nodes."""

    __slots__ = ("_graph", "_nodes")

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._nodes: list[UOp] = []

    def of(self, positions: Iterable[int]) -> Origins:
        """The lines of the nodes at `positions`."""
        nodes = self._nodes = self._nodes or all_nodes(self._graph)
        lines = self._graph.lines
        return tuple(dict.fromkeys(o for i in positions for o in lines.get(nodes[i], ())))

    def whole(self) -> Origins:
        """The lines of all nodes."""
        return tuple(dict.fromkeys(o for found in self._graph.lines.values() for o in found))

