"""Pytrees: JAX's order of leaves, structures that compare, paths, refusals, depth."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any, NamedTuple

import pytest

from anneal import tree
from anneal.errors import TreeError


class Point(NamedTuple):
    x: Any
    y: Any


@tree.register_dataclass
@dataclasses.dataclass
class Layer:
    w: Any
    b: Any
    name: str = dataclasses.field(default="", metadata={"static": True})


@pytest.mark.parametrize(
    ("value", "leaves"),
    [
        (1, [1]),
        (None, []),
        ((), []),
        ({"b": 1, "a": (2, None, 3)}, [2, 3, 1]),
        (Point(1, [2]), [1, 2]),
        (Layer(1, 2, "dense"), [1, 2]),
        (collections.OrderedDict(b=1, a=2), [1, 2]),
        (collections.defaultdict(int, b=1, a=2), [2, 1]),
        ([[], {}, [[5]]], [5]),
    ],
)
def test_flatten_and_back(value: Any, leaves: list[Any]) -> None:
    found, treedef = tree.flatten(value)
    assert found == leaves
    back = tree.unflatten(treedef, found)
    assert back == value
    assert type(back) is type(value)
    assert treedef == tree.structure(back)
    assert hash(treedef) == hash(tree.structure(back))


def test_structures_differ() -> None:
    assert tree.structure([1, 2]) != tree.structure((1, 2))
    assert tree.structure({"a": 1}) != tree.structure({"b": 1})
    assert tree.structure(Layer(1, 2, "a")) != tree.structure(Layer(1, 2, "b"))
    assert repr(tree.structure({"a": [1, None]})) == "PyTreeDef({'a': [*, None]})"


def test_map_takes_prefixes() -> None:
    assert tree.map(lambda x, y: (x, y), {"a": 1}, {"a": [2, 3]}) == {"a": (1, [2, 3])}
    assert tree.map(len, [[1, 2], [3]], is_leaf=lambda x: x == [1, 2] or x == [3]) == [2, 1]


@pytest.mark.parametrize(
    ("other", "fragments"),
    [
        ({"a": (1,)}, ["['a']", "2 children", "got 1"]),
        ({"a": [1, 2]}, ["['a']", "tuple", "list"]),
        ({"b": (1, 2)}, ["the root", "'a'", "'b'"]),
        (None, ["the root", "dict", "NoneType"]),
    ],
)
def test_map_names_where_trees_differ(other: Any, fragments: list[str]) -> None:
    with pytest.raises(TreeError) as e:
        tree.map(lambda x, y: x, {"a": (1, 2)}, other)
    for fragment in fragments:
        assert fragment in str(e.value)


def test_paths() -> None:
    value = {"layers": [Layer(1, 2), Point(3, 4)]}
    paths = [tree.keystr(p) for p, _ in tree.leaves_with_path(value)]
    assert paths == ["['layers'][0].w", "['layers'][0].b", "['layers'][1].x", "['layers'][1].y"]
    named = tree.map_with_path(lambda p, x: f"{tree.keystr(p)}={x}", (5,))
    assert named == ("[0]=5",)


def test_registered_classes() -> None:
    @tree.register_pytree_node_class
    class Box:
        def __init__(self, value: Any) -> None:
            self.value = value

        def tree_flatten(self) -> tuple[tuple[Any], None]:
            return (self.value,), None

        @classmethod
        def tree_unflatten(cls, aux: None, children: Any) -> Box:
            return cls(*children)

    assert tree.map(lambda x: x + 1, Box(1)).value == 2
    with pytest.raises(TreeError, match="Box is a pytree already"):
        tree.register_pytree_node_class(Box)


def test_refusals() -> None:
    with pytest.raises(TreeError, match="2 leaves, got 1"):
        tree.unflatten(tree.structure([1, 2]), [1])
    with pytest.raises(TreeError, match="sortable"):
        tree.leaves({1: 0, "a": 0})
    with pytest.raises(TypeError, match="no dataclass"):
        tree.register_dataclass(int)
    with pytest.raises(TypeError, match="every field once"):
        tree.register_dataclass(dataclasses.make_dataclass("Odd", ["a", "b"]), ["a"], [])


def test_small_functions() -> None:
    assert tree.reduce(lambda a, b: a + b, {"a": 1, "b": [2, 3]}) == 6
    assert tree.all([True, 1]) and not tree.all([True, {"a": 0}])


def test_depth_is_no_limit() -> None:
    deep: Any = 0
    for _ in range(20_000):
        deep = [deep]
    found, treedef = tree.flatten(deep)
    assert found == [0]
    again = tree.unflatten(treedef, [1])
    assert tree.leaves(again) == [1]
