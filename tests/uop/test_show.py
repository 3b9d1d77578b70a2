"""Text of nodes and graphs."""

from __future__ import annotations

from anneal.uop import dtypes, ops
from anneal.uop.show import dim_text, show, show_graph
from anneal.uop.uop import Graph, Origin, const, param, var

f32 = dtypes.float32


def test_dims_read_as_infix() -> None:
    batch, time = var("B", 1, 64), var("T", 1, 64)
    assert dim_text(3) == "3"
    assert dim_text(batch) == "B"
    assert dim_text(batch * 2 + 1) == "(B * 2) + 1"
    assert dim_text(batch * time // 4 % 3) == "((B * T) // 4) % 3"
    assert dim_text(batch.maximum(time)) == "max(B, T)"


def test_a_leaf_is_one_line() -> None:
    assert show(const(1.5, f32)) == "CONST [1.5]: float32[]"
    assert show(param(f32, (var("B", 1, 4), 2))).endswith("float32[B,2]")
    assert "\n" not in show(param(f32, (3,)))


def test_a_node_is_a_line_for_each_operation() -> None:
    x = param(f32, (3, 4))
    y = (x * 2.0).sum((1,))
    lines = show(y).split("\n")
    assert lines[1] == "  %1 = MUL(%0, 2.0): float32[3,4]"
    assert lines[2] == "  %2 = REDUCE[('add', (1,))](%1): float32[3]"
    assert lines[3] == "  return %2"


def test_a_graph_says_which_lines_made_a_node() -> None:
    x = param(f32, (3,))
    y = x * 2.0
    twice = (Origin("model.py", 12), Origin("model.py", 15), Origin("model.py", 12, "backward"))
    assert show_graph(Graph((x,), (y + 1.0,), {y: twice})).split("\n")[1:3] == [
        "  %0 = MUL(%in0, 2.0): float32[3]  # model.py:12, model.py:15",
        "  %1 = ADD(%0, 1.0): float32[3]",
    ]


def test_a_graph_names_its_inputs() -> None:
    a, b = param(f32, (2,)), param(dtypes.int32, ())
    graph = Graph((a, b), (a + 1.0, a))
    assert show_graph(graph) == (
        "graph(%in0: float32[2], %in1: int32[])\n"
        "  %0 = ADD(%in0, 1.0): float32[2]\n"
        "  return %0, %in0"
    )
    assert repr(graph) == show_graph(graph)


def test_a_long_graph_is_elided_in_the_middle() -> None:
    x = param(f32, (2,))
    for i in range(50_000):
        x = x.alu(ops.SIN) if i % 2 else x * 3.0
    lines = show(x).split("\n")
    assert len(lines) < 100
    assert any("more" in line for line in lines)
    assert lines[-2].startswith("  %50000 = SIN(%49999)")
