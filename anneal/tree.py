"""Pytrees: nested containers taken apart into leaves and a structure, and put together again.

Containers are tuples, lists, dicts (keys sorted, as in JAX), OrderedDicts, defaultdicts,
namedtuples, None (which has no leaves), and what `register_pytree_node` or `register_dataclass`
made one; everything else is a leaf. Imports nothing of anneal; nothing recurses on depth.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from anneal.errors import TreeError

__all__ = [
    "DictKey", "FlattenedIndexKey", "GetAttrKey", "PyTreeDef", "SequenceKey", "all", "flatten",
    "flatten_with_path", "keystr", "leaves", "leaves_with_path", "map", "map_with_path", "reduce",
    "register_dataclass", "register_pytree_node", "register_pytree_node_class", "structure",
    "transpose", "unflatten",
]  # fmt: skip

T = TypeVar("T")
IsLeaf = Callable[[Any], bool] | None


@dataclass(frozen=True, slots=True)
class SequenceKey:
    """The step into a list or tuple."""

    idx: int

    def __str__(self) -> str:
        return f"[{self.idx}]"


@dataclass(frozen=True, slots=True)
class DictKey:
    """The step into a dict."""

    key: Hashable

    def __str__(self) -> str:
        return f"[{self.key!r}]"


@dataclass(frozen=True, slots=True)
class GetAttrKey:
    """The step into a namedtuple or dataclass."""

    name: str

    def __str__(self) -> str:
        return f".{self.name}"


@dataclass(frozen=True, slots=True)
class FlattenedIndexKey:
    """The step into a container registered without keys."""

    key: int

    def __str__(self) -> str:
        return f"[<flat index {self.key}>]"


Key = SequenceKey | DictKey | GetAttrKey | FlattenedIndexKey
Path = tuple[Key, ...]


def keystr(path: Iterable[Key]) -> str:
    """A path as Python would write it.

    >>> keystr((DictKey("w"), SequenceKey(0)))
    "['w'][0]"
    """
    return "".join([str(k) for k in path])


@dataclass(frozen=True, slots=True)
class _Container:
    """How a type comes apart: children and what else it needs (hashable), the way back, and the
    keys of the children."""

    flatten: Callable[[Any], tuple[Sequence[Any], Hashable]]
    unflatten: Callable[[Any, Sequence[Any]], Any]
    keys: Callable[[Any, int], list[Key]]


def _indices(aux: Hashable, n: int) -> list[Key]:
    return [SequenceKey(i) for i in range(n)]


def _flat_indices(aux: Hashable, n: int) -> list[Key]:
    return [FlattenedIndexKey(i) for i in range(n)]


def _sorted_keys(d: dict[Any, Any]) -> tuple[Any, ...]:
    try:
        return tuple(sorted(d))
    except TypeError:
        raise TreeError(
            f"the keys of a dict must be sortable to be a pytree, got {list(d)!r}"
        ) from None


def _flatten_dict(d: dict[Any, Any]) -> tuple[Sequence[Any], Hashable]:
    keys = _sorted_keys(d)
    return [d[k] for k in keys], keys


def _flatten_default(d: collections.defaultdict[Any, Any]) -> tuple[Sequence[Any], Hashable]:
    keys = _sorted_keys(d)
    return [d[k] for k in keys], (d.default_factory, keys)


_REGISTRY: dict[type, _Container] = {
    tuple: _Container(lambda t: (t, None), lambda _, c: tuple(c), _indices),
    list: _Container(lambda t: (t, None), lambda _, c: list(c), _indices),
    type(None): _Container(lambda t: ((), None), lambda _, c: None, _indices),
    dict: _Container(
        _flatten_dict,
        lambda keys, c: dict(zip(keys, c, strict=True)),
        lambda keys, n: [DictKey(k) for k in keys],
    ),
    collections.OrderedDict: _Container(
        lambda d: (list(d.values()), tuple(d)),
        lambda keys, c: collections.OrderedDict(zip(keys, c, strict=True)),
        lambda keys, n: [DictKey(k) for k in keys],
    ),
    collections.defaultdict: _Container(
        _flatten_default,
        lambda aux, c: collections.defaultdict(aux[0], zip(aux[1], c, strict=True)),
        lambda aux, n: [DictKey(k) for k in aux[1]],
    ),
}


def _container(kind: type) -> _Container | None:
    """How `kind` comes apart; None for a leaf. Namedtuples are registered as they are met."""
    found = _REGISTRY.get(kind)
    if found is None and issubclass(kind, tuple) and hasattr(kind, "_fields"):
        fields = kind._fields
        found = _REGISTRY[kind] = _Container(
            lambda t: (t, None),
            lambda _, c: kind(*c),
            lambda _, n: [GetAttrKey(f) for f in fields],
        )
    return found


# A structure in preorder: (type, aux, number of children) a container, _LEAF a leaf.
_Node = tuple[type, Hashable, int]
_LEAF: _Node = (object, None, -1)


class PyTreeDef:
    """The structure of a pytree: hashable, comparable, printed with `*` for leaves."""

    __slots__ = ("_hash", "nodes", "num_leaves")

    def __init__(self, nodes: tuple[_Node, ...], num_leaves: int) -> None:
        self.nodes = nodes
        self.num_leaves = num_leaves
        self._hash: int | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PyTreeDef) and self.nodes == other.nodes

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(self.nodes)
        return self._hash

    def __repr__(self) -> str:
        return f"PyTreeDef({_show(unflatten(self, [_STAR] * self.num_leaves))})"

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        return unflatten(self, leaves)

    def paths(self) -> list[Path]:
        """The path of each leaf, in order."""
        found: list[Path] = []
        todo: list[Path] = [()]
        for kind, aux, n in self.nodes:
            here = todo.pop()
            if n < 0:
                found.append(here)
                continue
            container = _container(kind)
            assert container is not None
            todo += [(*here, k) for k in reversed(container.keys(aux, n))]
        return found

    def flatten_up_to(self, tree: Any) -> list[Any]:
        """The subtrees of `tree` that stand where this structure has leaves.

        Raises TreeError, with the path, where `tree` lacks this structure.
        """
        found: list[Any] = []
        todo: list[tuple[Any, Path]] = [(tree, ())]
        for kind, aux, n in self.nodes:
            here, path = todo.pop()
            if n < 0:
                found.append(here)
                continue
            container = _container(kind)
            assert container is not None
            if type(here) is not kind:
                raise TreeError(
                    f"pytrees differ at {keystr(path) or 'the root'}: expected "
                    f"{kind.__name__}, got {type(here).__name__}"
                )
            children, other = container.flatten(here)
            if other != aux or len(children) != n:
                raise TreeError(
                    f"pytrees differ at {keystr(path) or 'the root'}: expected {kind.__name__} "
                    f"with {n} children{_aux_text(aux)}, got {len(children)}{_aux_text(other)}"
                )
            keys = container.keys(aux, n)
            below = zip(reversed(children), reversed(keys), strict=True)
            todo += [(child, (*path, key)) for child, key in below]
        return found


class _Star:
    def __repr__(self) -> str:
        return "*"


_STAR = _Star()


def _show(tree: Any) -> str:
    try:
        return repr(tree)
    except RecursionError:
        return "(a structure too deep to print)"


def _aux_text(aux: Hashable) -> str:
    return "" if aux is None else f" {aux!r}"


# -- apart and together ----------------------------------------------------------------------------


def flatten(tree: Any, is_leaf: IsLeaf = None) -> tuple[list[Any], PyTreeDef]:
    """The leaves of `tree` and its structure. `is_leaf(x)` true: x is a leaf, whatever it is.

    >>> flatten({"b": [1, 2], "a": 3})
    ([3, 1, 2], PyTreeDef({'a': *, 'b': [*, *]}))
    """
    found: list[Any] = []
    nodes: list[_Node] = []
    todo = [tree]
    registry = _REGISTRY
    while todo:
        x = todo.pop()
        kind = type(x)
        container = registry.get(kind)
        if container is None and isinstance(x, tuple):
            container = _container(kind)
        if container is None or (is_leaf is not None and is_leaf(x)):
            found.append(x)
            nodes.append(_LEAF)
            continue
        children, aux = container.flatten(x)
        nodes.append((kind, aux, len(children)))
        todo.extend(children[::-1])
    return found, PyTreeDef(tuple(nodes), len(found))


def unflatten(treedef: PyTreeDef, leaves: Iterable[Any]) -> Any:
    """The tree of structure `treedef` with these leaves. TreeError if their number differs."""
    given = list(leaves)
    if len(given) != treedef.num_leaves:
        raise TreeError(f"the structure has {treedef.num_leaves} leaves, got {len(given)}")
    if given and len(treedef.nodes) == 1:
        return given[0]
    made: list[Any] = []
    for kind, aux, n in reversed(treedef.nodes):
        if n < 0:
            made.append(given.pop())
            continue
        children = made[: -n - 1 : -1] if n else []
        if n:
            del made[-n:]
        container = _container(kind)
        assert container is not None
        made.append(container.unflatten(aux, children))
    return made[0]


def leaves(tree: Any, is_leaf: IsLeaf = None) -> list[Any]:
    """The leaves of `tree`, dict keys in sorted order."""
    return flatten(tree, is_leaf)[0]


def structure(tree: Any, is_leaf: IsLeaf = None) -> PyTreeDef:
    """The structure of `tree`."""
    return flatten(tree, is_leaf)[1]


def map(f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: IsLeaf = None) -> Any:
    """`f` of the leaves of `tree` and of what stands there in each of `rest`.

    >>> map(lambda x, y: x + y, {"a": 1, "b": 2}, {"a": 10, "b": 20})
    {'a': 11, 'b': 22}
    """
    first, treedef = flatten(tree, is_leaf)
    others = [treedef.flatten_up_to(r) for r in rest]
    return unflatten(treedef, [f(*xs) for xs in zip(first, *others, strict=True)])


def reduce(f: Callable[[Any, Any], Any], tree: Any, *initial: Any, is_leaf: IsLeaf = None) -> Any:
    """The leaves combined from the left by `f`, beginning with `initial` if given."""
    import functools

    return functools.reduce(f, leaves(tree, is_leaf), *initial)


def all(tree: Any, is_leaf: IsLeaf = None) -> bool:
    """Whether every leaf is true."""
    return not [x for x in leaves(tree, is_leaf) if not x]


def transpose(outer: PyTreeDef, inner: PyTreeDef, tree: Any) -> Any:
    """A tree of structure outer-of-inner as inner-of-outer.

    >>> transpose(structure((0, 0)), structure({"a": 0}), ({"a": 1}, {"a": 2}))
    {'a': (1, 2)}
    """
    rows = [inner.flatten_up_to(t) for t in outer.flatten_up_to(tree)]
    columns = [[row[i] for row in rows] for i in range(inner.num_leaves)]
    return unflatten(inner, [unflatten(outer, column) for column in columns])


def flatten_with_path(
    tree: Any, is_leaf: IsLeaf = None
) -> tuple[list[tuple[Path, Any]], PyTreeDef]:
    """As `flatten`, each leaf with its path.

    >>> [(keystr(p), x) for p, x in flatten_with_path({"w": (1, 2)})[0]]
    [("['w'][0]", 1), ("['w'][1]", 2)]
    """
    found, treedef = flatten(tree, is_leaf)
    return list(zip(treedef.paths(), found, strict=True)), treedef


def leaves_with_path(tree: Any, is_leaf: IsLeaf = None) -> list[tuple[Path, Any]]:
    """The leaves of `tree`, each with its path."""
    return flatten_with_path(tree, is_leaf)[0]


def map_with_path(f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: IsLeaf = None) -> Any:
    """As `map`, with the path as the first argument of `f`."""
    found, treedef = flatten_with_path(tree, is_leaf)
    others = [treedef.flatten_up_to(r) for r in rest]
    return unflatten(treedef, [f(p, x, *xs) for (p, x), *xs in zip(found, *others, strict=True)])


# -- registering -----------------------------------------------------------------------------------


def _register(kind: type, container: _Container) -> None:
    if kind in _REGISTRY:
        raise TreeError(f"{kind.__name__} is a pytree already")
    _REGISTRY[kind] = container


def register_pytree_node(
    nodetype: type,
    flatten_func: Callable[[Any], tuple[Iterable[Any], Hashable]],
    unflatten_func: Callable[[Any, Sequence[Any]], Any],
) -> None:
    """Makes `nodetype` a container: `flatten_func(x)` gives children and hashable auxiliary data,
    `unflatten_func(aux, children)` the value back. TreeError if it is one already."""

    def flatten_to_list(x: Any) -> tuple[Sequence[Any], Hashable]:
        children, aux = flatten_func(x)
        return list(children), aux

    _register(nodetype, _Container(flatten_to_list, unflatten_func, _flat_indices))


def register_pytree_node_class(cls: type[T]) -> type[T]:
    """A class decorator: the class has `tree_flatten()` and a classmethod
    `tree_unflatten(aux, children)`."""
    unflatten_func: Callable[[Any, Sequence[Any]], Any] = cls.tree_unflatten  # type: ignore[attr-defined]
    register_pytree_node(cls, lambda x: x.tree_flatten(), unflatten_func)
    return cls


def register_dataclass(
    nodetype: type[T],
    data_fields: Sequence[str] | None = None,
    meta_fields: Sequence[str] | None = None,
) -> type[T]:
    """Makes a dataclass a container; also a class decorator.

    `data_fields` hold children, `meta_fields` hashable values that belong to the structure. By
    default those are the fields with `metadata={"static": True}`, and children the rest.

    >>> @register_dataclass
    ... @dataclasses.dataclass
    ... class Point:
    ...     x: float
    ...     y: float
    >>> map(lambda v: v + 1, Point(1, 2)).y
    3
    """
    if not dataclasses.is_dataclass(nodetype):
        raise TypeError(f"{nodetype.__name__} is no dataclass: decorate it with @dataclass first")
    fields = [f for f in dataclasses.fields(nodetype) if f.init]
    if meta_fields is None:
        meta_fields = [f.name for f in fields if f.metadata.get("static", False)]
    if data_fields is None:
        data_fields = [f.name for f in fields if f.name not in meta_fields]
    if {*data_fields, *meta_fields} != {f.name for f in fields}:
        raise TypeError(
            f"data_fields and meta_fields of {nodetype.__name__} must name every field once: "
            f"{[f.name for f in fields]}, got {[*data_fields]} and {[*meta_fields]}"
        )
    data, meta = tuple(data_fields), tuple(meta_fields)

    def take_apart(x: Any) -> tuple[Sequence[Any], Hashable]:
        return [getattr(x, f) for f in data], tuple([getattr(x, f) for f in meta])

    def put_together(aux: Any, children: Sequence[Any]) -> Any:
        given = dict(zip(data, children, strict=True)) | dict(zip(meta, aux, strict=True))
        return nodetype(**given)

    keys: list[Key] = [GetAttrKey(f) for f in data]
    _register(nodetype, _Container(take_apart, put_together, lambda _, n: keys))
    return nodetype
