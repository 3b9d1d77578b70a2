"""Tracing: a Python function runs once on stand-ins for its arguments; what it did is a graph.

In: a function, its arguments' dtypes and shapes. Out: `Traced`, the graph with the pytrees on both
sides. Every trace has PARAMs of its own, which its caller substitutes away: nested transforms
cannot confuse their variables, and there is no tracing state for an exception to leave behind.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from anneal import tree
from anneal.array import Array, asarray
from anneal.provenance import Argument, recording, set_argument, tell, user_origin
from anneal.transforms.fold import is_outside
from anneal.tree import PyTreeDef
from anneal.uop.dtypes import DType
from anneal.uop.uop import Graph, Shape, UOp, param, param_count, toposort


class Spec(NamedTuple):
    """What a trace knows of an argument."""

    dtype: DType
    shape: Shape
    weak_type: bool


@dataclass(frozen=True, slots=True)
class Traced:
    """A traced function: the graph, the structure of its outputs and which of them are weak.
    `first`: what depends on a PARAM of no such number was there before."""

    graph: Graph
    out_tree: PyTreeDef
    out_weak: tuple[bool, ...]
    first: int


def spec_of(x: Array) -> Spec:
    return Spec(x.dtype, x._uop.shape, x.weak_type)


def name_of(fn: Callable[..., Any]) -> str:
    """How to call a function in a message."""
    return str(getattr(fn, "__qualname__", None) or getattr(fn, "__name__", None) or repr(fn))


def argument_names(fn: Callable[..., Any], count: int) -> list[str]:
    """The names of the first `count` positional parameters; `args[i]` where there is none."""
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        parameters = {}.values()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return names[:count] + [f"args[{i}]" for i in range(len(names), count)]


def paths_of(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> list[str]:
    """How the user would write each leaf of the arguments, e.g. `params['w']`."""
    names = argument_names(fn, len(args))
    found = [name + tree.keystr(path)
             for name, arg in zip(names, args, strict=True)
             for path, _ in tree.leaves_with_path(arg)]  # fmt: skip
    found += [k + tree.keystr(path)
              for k in sorted(kwargs) for path, _ in tree.leaves_with_path(kwargs[k])]  # fmt: skip
    return found


class Parameters:
    """Fresh PARAMs for the time of a `with`; afterwards whoever kept one is told so.

    `values`: what they stand for, so that Python may branch on what is computed from them.
    """

    __slots__ = ("arguments", "first", "params")

    def __init__(
        self, specs: Sequence[Spec], names: Sequence[str], of: str,
        values: Sequence[UOp] | None = None,
    ) -> None:  # fmt: skip
        here = user_origin()
        self.first = param_count()
        self.params = [param(s.dtype, s.shape) for s in specs]
        self.arguments = [Argument(f"argument {name} of {of}", here) for name in names]
        for i, p in enumerate(self.params):
            set_argument(p, self.arguments[i])
            if values is not None:
                p.value = values[i]

    def __enter__(self) -> list[UOp]:
        return self.params

    def __exit__(self, *_: object) -> None:
        for p, what in zip(self.params, self.arguments, strict=True):
            p.value = None
            set_argument(p, what._replace(ended=True))


def output_leaves(out: Any, of: str) -> tuple[list[Array], PyTreeDef]:
    """The outputs of a function as Arrays. TypeError, with the path, for what cannot be one."""
    found, out_tree = tree.flatten(out)
    arrays: list[Array] = []
    for i, x in enumerate(found):
        if isinstance(x, Array):
            arrays.append(x)
            continue
        try:
            arrays.append(asarray(x))
        except TypeError:
            raise TypeError(
                f"{of} returned {type(x).__name__} at output{tree.keystr(out_tree.paths()[i])}: "
                "outputs must be arrays, numbers, or containers of them"
            ) from None
    return arrays, out_tree


def input_leaf(x: Any, name: str, of: str) -> Array:
    """An argument's leaf as an Array. TypeError, with its path, for what cannot be one."""
    if isinstance(x, Array):
        return x
    try:
        return asarray(x)
    except TypeError:
        raise TypeError(
            f"argument {name} of {of} is a {type(x).__name__}: arguments must be arrays, numbers, "
            "or containers of them; mark others static with static_argnums or static_argnames"
        ) from None


def trace(
    fn: Callable[..., Any], specs: Sequence[Spec], in_tree: PyTreeDef, names: Sequence[str],
    values: Sequence[UOp] | None = None,
) -> Traced:  # fmt: skip
    """Runs `fn(*args, **kwargs)` once, where `in_tree` is the structure of `(args, kwargs)` and
    `specs` and `names` describe its leaves; `values` as for `Parameters`."""
    of = name_of(fn)
    parameters = Parameters(specs, names, of, values)
    with parameters as params, recording():
        stand_ins = [Array(p, s.weak_type) for p, s in zip(params, specs, strict=True)]
        args, kwargs = tree.unflatten(in_tree, stand_ins)
        arrays, out_tree = output_leaves(fn(*args, **kwargs), of)
        outputs = tuple([a.uop for a in arrays])
        lines = tell(toposort(outputs, stop=is_outside(parameters.first)))
    weak = tuple([a.weak_type for a in arrays])
    return Traced(Graph(tuple(params), outputs, lines), out_tree, weak, parameters.first)


