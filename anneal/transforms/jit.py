"""jit: a function traced once for each signature, compiled, and then run without Python in between.

A call is: flatten the arguments, look up the signature, bind the storages, run. Signatures are the
structure of the arguments, dtypes, shapes and weak types, and the values of static arguments. Below
it lies `anneal.device.compile`'s memo on the graph's structure, so a function defined again with
the same body is traced again but compiles nothing. Inside another trace a call of a jitted function
is a CALL of its graph, traced once for each signature, too.

Source: https://docs.jax.dev/en/latest/_autosummary/jax.jit.html
"""

from __future__ import annotations

import functools
import inspect
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from anneal import config, errors, tree
from anneal.array import Array, realize
from anneal.interrupts import raise_soon
from anneal.numpy.axes import integers
from anneal.provenance import argument, frames_to_user, newest_argument
from anneal.realization import (
    DELETED,
    HostBuffer,
    close_over,
    describe,
    device_storages,
    execute,
    leak_message,
    pending_below,
    scalar_buffer,
)
from anneal.stats import count
from anneal.transforms import trace
from anneal.transforms.fold import Folded, fold, is_outside
from anneal.transforms.lowered import Lowered
from anneal.tree import PyTreeDef
from anneal.uop import ops
from anneal.uop.call import pruned
from anneal.uop.dtypes import DType
from anneal.uop.uop import Graph, Shape, UOp, new_buffer, toposort

if TYPE_CHECKING:
    from anneal.device import Donation, Run

# More traces of one function than this are seldom meant: some shape or static value keeps changing.
MANY_TRACES = 8
# Signatures of one function that are kept; a new one then replaces the first.
_MOST_SIGNATURES = 1024


@dataclass(frozen=True)
class Compiled:
    """One signature: the graph with captured data as inputs after the arguments, and how to run it.

    Without `run` it can only be part of the enclosing trace whose values it captured. `donated`:
    the inputs whose memory the results may take over. `first`: that of `Traced`.
    """

    graph: Graph
    captured: tuple[UOp, ...]
    donated: frozenset[int]
    out_tree: PyTreeDef
    outputs: tuple[tuple[DType, Shape, bool], ...]
    run: Run | None
    first: int

    @functools.cached_property
    def folded(self) -> Folded:
        """The graph as a call, for other traces."""
        return fold(self.graph, self.first)


class Jitted:
    """A function under `jit`. Call it as the function, or `lower` it to see what it becomes."""

    def __init__(
        self, fn: Callable[..., Any], static: frozenset[int], static_names: frozenset[str],
        donate: frozenset[int], donate_names: frozenset[str], opts: tuple[tuple[str, str], ...],
    ) -> None:  # fmt: skip
        functools.update_wrapper(self, fn)
        self._fn = fn
        self._static, self._static_names = static, static_names
        self._donate, self._donate_names = donate, donate_names
        self._opts = opts
        self._plain = not static and not static_names
        self._signatures: dict[Any, Compiled] = {}
        self._last: list[tuple[str, str]] = []
        self._traces = 0

    def __repr__(self) -> str:
        return f"<jit of {trace.name_of(self._fn)}>"

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        arrays, key = self._signature(args, kwargs)
        found = self._known(key) or self._trace(args, kwargs, arrays, key)
        run = found.run
        storages: list[Any] = []
        for x in arrays:  # all data on a device: the common case
            u = x._uop
            if u.op is not ops.BUFFER or (s := u.arg[0]).spent or type(s) is HostBuffer:
                if run is None or any(x.node().traced for x in arrays):
                    return self._part(found, arrays)
                storages = device_storages(_buffers(arrays))
                break
            storages.append(s)
        if run is None:
            return self._part(found, arrays)
        if found.captured:
            storages += device_storages(found.captured)
        if found.donated:
            return _donating(found, run, arrays, storages)
        return _results(found, run(storages) if found.outputs else [])

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """What a call with these arguments would run, without running it."""
        arrays, key = self._signature(args, kwargs)
        found = self._known(key) or self._trace(args, kwargs, arrays, key)
        return Lowered(found.graph, found.donated, trace.name_of(self._fn), self._opts)

    def clear_cache(self) -> None:
        """Forgets all signatures; the next call traces."""
        self._signatures.clear()

    # -- signatures ---------------------------------------------------------------------------

    def _signature(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Array], Any]:
        static: tuple[Any, ...] = ()
        if not self._plain:
            static, args, kwargs = split_static(args, kwargs, self._static, self._static_names)
        if kwargs or not all([type(x) is Array for x in args]):
            leaves, in_tree = tree.flatten((args, kwargs) if kwargs else args)
        else:  # no containers to look into
            leaves, in_tree = list(args), _arguments(len(args))
        specs: list[Any] = []
        for i, x in enumerate(leaves):
            if type(x) is not Array:
                x = leaves[i] = self._input(x, i, args, kwargs)
            u = x._uop
            specs.append((u.dtype, u.shape, x.weak_type))
        return leaves, (in_tree, tuple(specs), static)

    def _known(self, key: Any) -> Compiled | None:
        try:
            return self._signatures.get(key)
        except TypeError:
            raise self._unhashable(key[2]) from None

    def _input(self, x: Any, i: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Array:
        try:
            return trace.input_leaf(x, "", "")
        except TypeError:
            path = trace.paths_of(self._fn, args, kwargs)[i]
            return trace.input_leaf(x, path, trace.name_of(self._fn))

    def _unhashable(self, static: tuple[Any, ...]) -> Exception:
        for place, kind, value in static:
            try:
                hash(value)
            except TypeError:
                name = place if isinstance(place, str) else trace.argument_names(
                    self._fn, place + 1)[place]  # fmt: skip
                return ValueError(
                    f"static argument {name} of {trace.name_of(self._fn)} must be hashable, got a "
                    f"{kind.__name__}: use a tuple for a list, or do not mark it static"
                )
        of = trace.name_of(self._fn)
        return ValueError(f"what registered pytrees keep in arguments of {of} must be hashable")

    # -- tracing ------------------------------------------------------------------------------

    def _trace(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], arrays: Sequence[Array], key: Any
    ) -> Compiled:
        in_tree, _, static = key
        if not self._plain:
            _, args, kwargs = split_static(args, kwargs, self._static, self._static_names)
        names = trace.paths_of(self._fn, args, kwargs)
        specs = [trace.spec_of(x) for x in arrays]
        whole = in_tree if kwargs else _with_no_kwargs(in_tree)
        fn = with_static(self._fn, static)
        traced = trace.trace(fn, specs, whole, names)
        count("traces")
        graph, captured = traced.graph, list[UOp]()
        is_part = _reads_enclosing(traced)
        if not is_part:
            execute(pending_below(graph.outputs))  # what is captured is computed once, and now
            graph, captured = close_over(graph.outputs, graph.inputs, graph.lines)
            graph = _pruned(graph)
        donated = frozenset(self._donated(args, kwargs))
        weak = zip(traced.graph.outputs, traced.out_weak, strict=True)
        outputs = tuple([(u.dtype, u.shape, w) for u, w in weak])
        run = None if is_part else _lazily(graph, donated, self._opts)
        found = Compiled(graph, tuple(captured), donated, traced.out_tree, outputs, run,
                         traced.first if is_part else 0)
        if not is_part:  # otherwise the next enclosing trace has other PARAMs
            if len(self._signatures) >= _MOST_SIGNATURES:
                self._signatures.pop(next(iter(self._signatures)), None)
            self._signatures[key] = found
            self._note_trace(names, arrays, static)
        return found

    def _donated(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int]:
        """The numbers of the leaves of donated arguments."""
        found: list[int] = []
        n = 0
        places = {p % len(args) for p in self._donate if -len(args) <= p < len(args)}
        for i, a in enumerate(args):
            count = len(tree.leaves(a))
            if i in places:
                found += range(n, n + count)
            n += count
        for k in sorted(kwargs):
            count = len(tree.leaves(kwargs[k]))
            if k in self._donate_names:
                found += range(n, n + count)
            n += count
        return found

    def _note_trace(
        self, names: Sequence[str], arrays: Sequence[Array], static: tuple[Any, ...]
    ) -> None:
        """Warns, once, of a function that is traced again and again, and says why."""
        now = [(name, describe(x) + (" (weak)" if x.weak_type else ""))
               for name, x in zip(names, arrays, strict=True)]  # fmt: skip
        now += [(f"static {place}", repr(value)) for place, _, value in static]
        self._traces += 1
        if self._traces == MANY_TRACES + 1:
            was = dict(self._last)
            changes = [f"{n} was {was[n]} and is {d}" if n in was else f"{n} is new: {d}"
                       for n, d in now if was.get(n) != d]  # fmt: skip
            why = "; ".join(changes) or "the structure of the arguments differs"
            warnings.warn(
                f"{trace.name_of(self._fn)} was traced {self._traces} times, the last because "
                f"{why}. Every trace compiles: keep shapes, dtypes and static values, or pad",
                stacklevel=frames_to_user(),
            )
        self._last = now

    # -- running ------------------------------------------------------------------------------

    def _part(self, found: Compiled, arrays: Sequence[Array]) -> Any:
        """The results as part of the trace that the arguments, or captured values, belong to."""
        results = found.folded.called((*[x.uop for x in arrays], *found.captured))
        return found.out_tree.unflatten(
            [Array(u, weak) for u, (_, _, weak) in zip(results, found.outputs, strict=True)]
        )


def _reads_enclosing(traced: trace.Traced) -> bool:
    """Whether a function read values of enclosing traces. UnexpectedTracerError where one has
    ended."""
    outside, inputs = is_outside(traced.first), set(traced.graph.inputs)
    found = [u for u in toposort(traced.graph.outputs, stop=outside)
             if u.traced and u not in inputs and (outside(u) or u.op is ops.PARAM)]  # fmt: skip
    for u in found:
        p = newest_argument(u)
        if p is not None and (known := argument(p)) is not None and known.ended:
            raise errors.UnexpectedTracerError(leak_message(p, [p]))
    return bool(found)


def _pruned(graph: Graph) -> Graph:
    """`graph` whose calls have only the results that are read."""
    lines = dict(graph.lines)
    outputs = pruned(graph.outputs, lambda old, new: lines.update({new: lines.get(old, ())}))
    return Graph(graph.inputs, tuple(outputs), lines)


@functools.cache
def _arguments(count: int) -> PyTreeDef:
    """The structure of so many leaves in a tuple."""
    return tree.structure((0,) * count)


def _with_no_kwargs(in_tree: PyTreeDef) -> PyTreeDef:
    """The structure of `(args, {})` from that of `args`."""
    return PyTreeDef(((tuple, None, 2), *in_tree.nodes, (dict, (), 0)), in_tree.num_leaves)


def _buffers(arrays: Sequence[Array]) -> list[UOp]:
    """The BUFFERs of arguments, computed where they were not; scalars need no computation."""
    todo = [x for x in arrays if x.node().op is not ops.BUFFER and x.node().op is not ops.CONST]
    if todo:
        realize(todo)
    return [scalar_buffer(u) if (u := x.node()).op is ops.CONST else u for x in arrays]


def _lazily(graph: Graph, donated: frozenset[int], opts: tuple[tuple[str, str], ...]) -> Run:
    """Compiles at the first run, so that `lower` and inlining need no device."""
    from anneal import device

    executables: dict[Any, Run] = {}

    def run(inputs: Sequence[Any], donation: Donation | None = None) -> list[Any]:
        target = device.target()
        executable = executables.get(target)
        if executable is None:
            executable = device.compile(graph, donated, opts, config.beam())
            executables[target] = executable
        return executable(inputs, donation)

    return run


def _results(found: Compiled, storages: Sequence[Any]) -> Any:
    return found.out_tree.unflatten(
        [Array(new_buffer(s, dtype, shape), weak)
         for s, (dtype, shape, weak) in zip(storages, found.outputs, strict=True)]
    )  # fmt: skip


def _donating(
    found: Compiled, run: Run, arrays: Sequence[Array], storages: Sequence[Any]
) -> Any:
    """A call after which the donated arrays are deleted; it is done and returns, or leaves them.

    Whoever interrupts it after its results came to be in the memory of its arguments is heard when
    it has returned.
    """
    from anneal.device import Donation

    donation = Donation(_unshared(found.donated, arrays, storages))
    try:
        made = _results(found, run(storages, donation) if found.outputs else [])
        _delete(found, arrays)
    except BaseException as e:
        if isinstance(e, Exception) or not donation.log or donation.finish is None:
            raise
        made = _results(found, donation.finish())
        _delete(found, arrays)
        raise_soon(type(e))
    return made


def _unshared(
    donated: frozenset[int], arrays: Sequence[Array], storages: Sequence[Any]
) -> frozenset[int]:
    """Those of `donated` whose memory nothing but the argument itself can read."""
    out = [i for i in donated
           if not storages[i].shared and (u := arrays[i]._uop).op is ops.BUFFER
           and not u.arg[0].shared]  # fmt: skip
    if len(set(map(id, storages))) < len(storages):
        uses = Counter(map(id, storages))
        out = [i for i in out if uses[id(storages[i])] == 1]
    return frozenset(out)


def _delete(found: Compiled, arrays: Sequence[Array]) -> None:
    for i in found.donated:
        u = arrays[i]._uop
        if u.op is not ops.BUFFER or type(s := u.arg[0]) is HostBuffer or not s.spent:
            arrays[i]._uop = new_buffer(DELETED, u.dtype, u.shape)


# -- the decorator ---------------------------------------------------------------------------------


@overload
def jit(
    fun: Callable[..., Any],
    *,
    static_argnums: int | Iterable[int] | None = None,
    static_argnames: str | Iterable[str] | None = None,
    donate_argnums: int | Iterable[int] | None = None,
    donate_argnames: str | Iterable[str] | None = None,
    opts: Mapping[str, str] | None = None,
) -> Jitted: ...


@overload
def jit(
    *,
    static_argnums: int | Iterable[int] | None = None,
    static_argnames: str | Iterable[str] | None = None,
    donate_argnums: int | Iterable[int] | None = None,
    donate_argnames: str | Iterable[str] | None = None,
    opts: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., Any]], Jitted]: ...


def jit(
    fun: Callable[..., Any] | None = None,
    *,
    static_argnums: int | Iterable[int] | None = None,
    static_argnames: str | Iterable[str] | None = None,
    donate_argnums: int | Iterable[int] | None = None,
    donate_argnames: str | Iterable[str] | None = None,
    opts: Mapping[str, str] | None = None,
) -> Any:
    """`fun` compiled: traced at its first call with a signature, run as kernels ever after.

    `fun` must be pure. Static arguments are Python values that the trace may branch on; a new value
    is a new trace. The memory of donated arguments is reused for results, and the arrays that were
    passed are deleted. `opts` are Opts by hand: for names of kernels the lines that shape them, in
    place of what the heuristic would choose; `lower(...).as_text("nests")` shows names and ranges.
    What a kernel refuses is a LoweringError, when it is compiled; those of a function that is
    inlined in another are not looked at. Without `fun` a decorator.

    >>> import anneal
    >>> double = anneal.jit(lambda x: 2 * x)
    >>> float(double(4.0))
    8.0

    >>> import anneal.numpy as anp
    >>> print(anneal.jit(lambda x: 2 * x).lower(anp.ones(64)).as_text("nests"))
    kernel 51484f(write a0: float32[64], read a1: float32[64])
      loop g0 < 64:
        a0[g0] = (2.0 * a1[g0])
    >>> double = anneal.jit(lambda x: 2 * x, opts={"51484f": "SPLIT(g0, 4) VECTOR(g0%4)"})
    """
    if fun is None:
        return functools.partial(
            jit, static_argnums=static_argnums, static_argnames=static_argnames,
            donate_argnums=donate_argnums, donate_argnames=donate_argnames, opts=opts,
        )  # fmt: skip
    if not callable(fun):
        raise TypeError(f"jit expects a function, got {type(fun).__name__}: {fun!r}")
    static, static_names = marked_arguments(fun, static_argnums, static_argnames, "static")
    donate, donate_names = marked_arguments(fun, donate_argnums, donate_argnames, "donate")
    if static & donate or static_names & donate_names:
        raise ValueError(f"an argument of {trace.name_of(fun)} cannot be static and donated")
    return Jitted(fun, static, static_names, donate, donate_names, _opts_by_name(opts))


def _opts_by_name(opts: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    """`opts`, checked as far as that goes without kernels."""
    if opts is None:
        return ()
    from anneal.kernel.opts import parse

    if not isinstance(opts, Mapping):
        raise TypeError("opts of jit: expected a mapping from names of kernels to lines of Opts, "
                        f"got {type(opts).__name__}")  # fmt: skip
    for name, line in opts.items():
        if not isinstance(name, str) or not re.fullmatch("[0-9a-f]{6}", name):
            raise ValueError(f"opts of jit: expected names of kernels as as_text(\"nests\") shows "
                             f"them, six digits such as '51484f', got {name!r}")  # fmt: skip
        if not isinstance(line, str):
            raise TypeError(f"opts[{name!r}] of jit: expected a line of Opts such as "
                            f"'SPLIT(i, 8) VECTOR(i%8)', got {type(line).__name__}")  # fmt: skip
        try:
            parse(line)
        except ValueError as e:
            raise ValueError(f"opts[{name!r}] of jit: {e}") from None
    return tuple(sorted(opts.items()))


Static = tuple[tuple[int | str, type, Any], ...]


def split_static(
    args: tuple[Any, ...], kwargs: dict[str, Any], numbers: frozenset[int], called: frozenset[str]
) -> tuple[Static, tuple[Any, ...], dict[str, Any]]:
    """Static values apart; in the arguments None stands in their places."""
    n = len(args)
    places = sorted({p % n if n else p for p in numbers if -n <= p < n})
    names = sorted(called & kwargs.keys())
    fixed: Static = tuple([(p, type(args[p]), args[p]) for p in places])
    fixed += tuple([(k, type(kwargs[k]), kwargs[k]) for k in names])
    return (
        fixed,
        tuple([None if i in places else a for i, a in enumerate(args)]),
        {k: None if k in called else v for k, v in kwargs.items()},
    )


def with_static(fun: Callable[..., Any], static: Static) -> Callable[..., Any]:
    """`fun` with the static values where `split_static` left None."""
    if not static:
        return fun

    @functools.wraps(fun)
    def filled(*args: Any, **kwargs: Any) -> Any:
        given = list(args)
        for place, _, value in static:
            if isinstance(place, str):
                kwargs[place] = value
            else:
                given[place] = value
        return fun(*given, **kwargs)

    return filled


def marked_arguments(
    fun: Callable[..., Any],
    numbers: int | Iterable[int] | None,
    names: str | Iterable[str] | None,
    which: str,
) -> tuple[frozenset[int], frozenset[str]]:
    """Positions and names of the marked arguments: from one, by the signature, also the other."""
    places = set(() if numbers is None else integers("jit", f"{which}_argnums", numbers))
    called = {names} if isinstance(names, str) else set(names or ())
    if not places and not called:
        return frozenset(), frozenset()
    try:
        parameters = list(inspect.signature(fun).parameters.values())
    except (TypeError, ValueError):
        return frozenset(places), frozenset(called)
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    positional = [p.name for p in parameters if p.kind in by_position]
    known = {p.name for p in parameters}
    variadic = {p.kind for p in parameters}
    if not called <= known and inspect.Parameter.VAR_KEYWORD not in variadic:
        raise ValueError(
            f"{which}_argnames of {trace.name_of(fun)} names {sorted(called - known)}, which it "
            f"does not have; its parameters are {[p.name for p in parameters]}"
        )
    n = len(positional)
    if inspect.Parameter.VAR_POSITIONAL not in variadic and any(not -n <= p < n for p in places):
        raise ValueError(
            f"{which}_argnums of {trace.name_of(fun)} must lie in [{-n}, {n}), got {sorted(places)}"
        )
    places = {p % n if p < 0 and n else p for p in places}
    by_name = {positional.index(k) for k in called if k in positional}
    by_place = {positional[p] for p in places if p < n}
    return frozenset(places | by_name), frozenset(called | by_place)


# -- looking ---------------------------------------------------------------------------------------
