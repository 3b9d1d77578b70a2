"""The rule language: `.upat` text compiled to plain Python match functions, one per op.

In: rule files (`anneal/rules/*.upat`). Out: modules (`anneal/rules/_*.py`) that export
`RULES: RuleSet`; `python -m anneal.uop.upat` writes them all, with `--check` it only compares.

    # comment
    use anneal.rules.symbolic          functions for conditions and replacements come from there
    dtype index                        the rules below are about operands of dtype index
    name   pattern -> replacement [if condition]  "one line of doc"

A rule goes on over indented lines. Pattern and replacement are Python expressions. In a pattern a
lowercase name is a variable (twice the same: the same node); c, c0, c1, ... match constants only; a
number, true, false, inf, nan match that constant of any dtype (0 is not -0.0); operators and calls
are ops (`x // y`, `x == y`, `max(x, y)`, `where(p, x, y)`), `reduce[a](x)` binds the node's arg.
Commutative ops match in both orders. An op with any number of sources may have more than written.
In a replacement `out` is the matched node, numbers take the dtype of what they meet (alone: that of
`out`), and a function that returns None declines. `dtype` is one of any, index, int (index too),
float, bool. A file that mentions the free name `g` holds gradient rules: match functions take
`(out, g)` and give a tuple, one cotangent or None per source; `RULES` is a GradientSet.
"""

from __future__ import annotations

import ast
import importlib
import itertools
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from anneal.uop import ops
from anneal.uop.rewrite import Rule, RuleSet

RULES_DIR = Path(__file__).resolve().parent.parent / "rules"

_BINARY = {
    ast.Add: "ADD", ast.Sub: "SUB", ast.Mult: "MUL", ast.Div: "DIV", ast.FloorDiv: "FLOORDIV",
    ast.Mod: "MOD", ast.Pow: "POW", ast.BitAnd: "AND", ast.BitOr: "OR", ast.BitXor: "XOR",
    ast.LShift: "SHL", ast.RShift: "SHR", ast.Lt: "LT", ast.Gt: "LT", ast.Eq: "EQ", ast.NotEq: "NE",
}  # fmt: skip
_SYMBOL = {
    "ADD": "+", "SUB": "-", "MUL": "*", "DIV": "/", "FLOORDIV": "//", "MOD": "%", "POW": "**",
    "AND": "&", "OR": "|", "XOR": "^", "SHL": "<<", "SHR": ">>", "LT": "<",
}  # fmt: skip
_UNARY = {ast.USub: "NEG", ast.Invert: "NOT"}
_NUMBERS = {"true": "True", "false": "False", "inf": "math.inf", "nan": "math.nan", "none": "None"}
_SCOPES = {
    "any": "", "index": "{} is dtypes.index", "int": '{}.kind in "iu"', "float": '{}.kind == "f"',
    "bool": '{}.kind == "b"',
}  # fmt: skip


class RuleSyntaxError(SyntaxError):
    """A rule that cannot be read: file, line and what is wrong."""


# -- reading ---------------------------------------------------------------------------------------


def parse(text: str, file: str) -> tuple[Rule, ...]:
    """The rules of a file. Raises RuleSyntaxError with the line."""
    rules: list[Rule] = []
    scope, uses = "any", ()  # type: tuple[str, tuple[str, ...]]
    for line, entry in _entries(text):
        word, _, rest = entry.partition(" ")
        rest = rest.strip()
        if word == "use":
            uses = (*uses, rest)
        elif word == "dtype":
            if rest not in _SCOPES:
                raise RuleSyntaxError(f"{file}:{line}: dtype must be one of {', '.join(_SCOPES)}")
            scope = rest
        else:
            found = re.fullmatch(r'(.*\S)\s*"([^"]*)"', rest)
            if not found or not word.isidentifier() or " -> " not in rest:
                raise RuleSyntaxError(
                    f"{file}:{line}: expected `name  pattern -> replacement [if condition]  "
                    f'"doc"`, got: {entry}'
                )
            if any(r.name == word for r in rules):
                raise RuleSyntaxError(f"{file}:{line}: a second rule called {word}")
            text_of_rule = re.sub(r"\s+", " ", found[1])
            rules.append(Rule(word, found[2], text_of_rule, file, line, scope, uses))
    return tuple(rules)


def _entries(text: str) -> Iterator[tuple[int, str]]:
    """Logical lines: continuations joined, comments and blank lines dropped."""
    start, entry = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0].isspace():
            entry += " " + line.strip()
            continue
        if entry:
            yield start, entry
        start, entry = number, line.strip()
    if entry:
        yield start, entry


def split(rule: Rule) -> tuple[ast.expr, ast.expr, str]:
    """A rule's pattern and replacement as syntax trees, and its condition ("" for none)."""
    pattern, _, rest = rule.text.partition(" -> ")
    condition = ""
    at = rest.rfind(" if ")
    if at >= 0 and " else " not in rest[at:]:
        rest, condition = rest[:at], rest[at + 4 :]
    try:
        ast.parse(condition or "0", mode="eval")
        return (ast.parse(pattern, mode="eval").body, ast.parse(rest, mode="eval").body, condition)
    except SyntaxError as e:
        raise RuleSyntaxError(f"{rule.file}:{rule.line}: {e.msg} in: {rule.text}") from None


def pattern_op(node: ast.expr) -> str | None:
    """The op a pattern's node matches, None for a variable or constant."""
    match node:
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant()):
            return None
        case ast.UnaryOp(op=o):
            return _UNARY[type(o)]
        case ast.BinOp(op=b):
            return _BINARY[type(b)]
        case ast.Compare(ops=[o2]):
            return _BINARY[type(o2)]
        case ast.Call(func=ast.Name(id=name)) | ast.Call(
            func=ast.Subscript(value=ast.Name(id=name))
        ):
            return name.upper()
    return None


def pattern_operands(node: ast.expr) -> list[ast.expr]:
    """The sub-patterns of an op's sources, in the order of the sources."""
    match node:
        case ast.UnaryOp(operand=x):
            return [x]
        case ast.BinOp(left=a, right=b):
            return [a, b]
        case ast.Compare(left=a, ops=[ast.Gt()], comparators=[b]):
            return [b, a]
        case ast.Compare(left=a, comparators=[b]):
            return [a, b]
        case ast.Call(args=args):
            return list(args)
    return []


# -- patterns to code ------------------------------------------------------------------------------


class _Matching:
    """The tests and bindings of one way to match one pattern, in order."""

    __slots__ = ("args", "bound", "fresh", "steps")

    def __init__(self) -> None:
        self.steps: list[tuple[str, str]] = []  # ("if", condition) or ("let", statement)
        self.bound: dict[str, str] = {}
        self.fresh = itertools.count()

    def node(self, pattern: ast.expr, name: str, orders: Iterator[bool], rule: Rule) -> None:
        """Matches the node in variable `name` against `pattern`."""
        op = pattern_op(pattern)
        if op is None:
            self.leaf(pattern, name, rule)
            return
        if op not in ops.BY_NAME:
            raise RuleSyntaxError(f"{rule.file}:{rule.line}: no op is called {op.lower()}")
        if name != "out":
            self.steps.append(("if", f"{name}.op is ops.{op}"))
        if isinstance(pattern, ast.Call) and isinstance(pattern.func, ast.Subscript):
            assert isinstance(pattern.func.slice, ast.Name)
            self.steps.append(("let", f"{pattern.func.slice.id} = {name}.arg"))
            self.bound[pattern.func.slice.id] = ""
        operands = pattern_operands(pattern)
        if len(operands) == 2 and _swappable(pattern) and next(orders):
            operands.reverse()
        names = [f"{name if name != 'out' else 's'}{i}" for i in range(len(operands))]
        variadic = ops.BY_NAME[op].arity < 0
        if not variadic and len(operands) != ops.BY_NAME[op].arity:
            raise RuleSyntaxError(f"{rule.file}:{rule.line}: {op.lower()} has "
                                  f"{ops.BY_NAME[op].arity} sources, the pattern {len(operands)}")
        if variadic and len(operands) > 1:
            self.steps.append(("if", f"len({name}.src) >= {len(operands)}"))
        if name == "out" and not variadic:
            pass  # unpacked once, at the head of the function
        elif len(names) > 1 and not variadic:
            self.steps.append(("let", f"{', '.join(names)} = {name}.src"))
        else:
            self.steps += [("let", f"{n} = {name}.src[{i}]") for i, n in enumerate(names)]
        for operand, n in zip(operands, names, strict=True):
            self.node(operand, n, orders, rule)

    def leaf(self, pattern: ast.expr, name: str, rule: Rule) -> None:
        if isinstance(pattern, ast.Name) and pattern.id not in _NUMBERS:
            var = pattern.id
            if var in self.bound:
                self.steps.append(("if", f"{name} is {self.bound[var]}"))
                return
            self.bound[var] = name
            if re.fullmatch(r"c\d*", var):
                self.steps.append(("if", f"{name}.op is ops.CONST"))
            return
        self.steps.append(("if", f"{name}.op is ops.CONST"))
        for test in _constant_tests(pattern, f"{name}.arg", rule):
            self.steps.append(("if", test.replace("NAME", name)))


def _constant_tests(pattern: ast.expr, arg: str, rule: Rule) -> list[str]:
    text = ast.unparse(pattern)
    if text == "nan":
        return [f"{arg} != {arg}"]
    if text in ("true", "false"):
        return ["NAME.dtype.kind == \"b\"", arg if text == "true" else f"not {arg}"]
    text = {"inf": "math.inf", "-inf": "-math.inf"}.get(text, text)
    if text in ("0", "0.0"):
        return [f"{arg} == 0", f'str({arg}) != "-0.0"']
    if text == "-0.0":
        return [f'str({arg}) == "-0.0"']
    if not re.fullmatch(r"-?(math\.inf|[\d.e+-]+)", text):
        raise RuleSyntaxError(f"{rule.file}:{rule.line}: {text} is no variable and no constant")
    return [f"{arg} == {text}"]


def _swappable(pattern: ast.expr) -> bool:
    """Whether the other order of a commutative pattern could match where this one does not."""
    op = pattern_op(pattern)
    if op is None or op not in ops.BY_NAME or ops.BY_NAME[op] not in ops.COMMUTATIVE:
        return False
    a, b = pattern_operands(pattern)
    return ast.dump(a) != ast.dump(b)


def _count_swappable(pattern: ast.expr) -> int:
    return sum(isinstance(n, ast.expr) and pattern_op(n) is not None and _swappable(n)
               for n in ast.walk(pattern))


def _any_order_alike(pattern: ast.expr, condition: str) -> bool:
    """x + y with plain variables and no condition: the first order always matches."""
    names = [o.id for o in pattern_operands(pattern) if isinstance(o, ast.Name)]
    constants = [bool(re.fullmatch(r"c\d*", n)) for n in names if n not in _NUMBERS]
    return len(constants) == 2 and constants[0] == constants[1] and not condition


# -- replacements to code --------------------------------------------------------------------------


class _Replacing(ast.NodeTransformer):
    """An expression of the rule language as the Python that builds it."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in _NUMBERS:
            return ast.parse(_NUMBERS[node.id], mode="eval").body
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        operand = self.visit(node.operand)
        if isinstance(node.op, ast.Invert):
            return _expr(f"({ast.unparse(operand)}).logical_not()")
        return ast.UnaryOp(node.op, operand)

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        left, right = self.visit(node.left), self.visit(node.comparators[0])
        method = {ast.Eq: "EQ", ast.NotEq: "NE"}.get(type(node.ops[0]))
        if method:
            return _expr(f"build(ops.{method}, {ast.unparse(left)}, {ast.unparse(right)})")
        return ast.Compare(left, node.ops, [right])

    def visit_Call(self, node: ast.Call) -> ast.expr:
        args = [self.visit(a) for a in node.args]
        op = pattern_op(node)
        if not isinstance(node.func, ast.Name | ast.Subscript) or op not in ops.BY_NAME:
            keywords = [ast.keyword(k.arg, self.visit(k.value)) for k in node.keywords]
            return ast.Call(self.visit(node.func), args, keywords)
        listed = ", ".join(ast.unparse(a) for a in args)
        if op in ("CAST", "BITCAST"):
            return _expr(f"({listed}).{op.lower()}(out.dtype)")
        if isinstance(node.func, ast.Subscript):
            arg = ast.unparse(node.func.slice)
            return _expr(f"UOp(ops.{op}, ({ast.unparse(args[0])}).dtype, ({listed},), {arg})")
        if op == "WHERE" and all(_is_number(a) for a in args[1:]):
            return _expr(f"({ast.unparse(args[0])}).where(out.const_like({ast.unparse(args[1])}), "
                         f"{ast.unparse(args[2])})")
        return _expr(f"build(ops.{op}, {listed})")


def _expr(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _is_number(node: ast.expr) -> bool:
    text = ast.unparse(node)
    return bool(re.fullmatch(r"-?(True|False|math\.inf|math\.nan|[\d.]+(e-?\d+)?)", text))


def _replacement(rule: Rule, node: ast.expr, gradient: bool) -> str:
    if gradient:
        parts = node.elts if isinstance(node, ast.Tuple) else [node]
        return "(" + "".join(_replacement(rule, p, False) + ", " for p in parts) + ")"
    new = _Replacing(rule).visit(node)
    text = ast.unparse(new)
    return f"out.const_like({text})" if _is_number(new) else text


# -- modules ---------------------------------------------------------------------------------------


def compile_rules(rules: Sequence[Rule], title: str) -> str:
    """The source of a module whose `RULES` is the set of `rules`."""
    gradient = any(_free_g(r) for r in rules)
    bodies: dict[str, list[str]] = {}
    scopes: dict[str, str] = {}
    for number, rule in enumerate(rules):
        pattern, replacement, condition = split(rule)
        op = pattern_op(pattern)
        if op is None:
            raise RuleSyntaxError(f"{rule.file}:{rule.line}: a pattern must start with an op")
        lines = bodies.setdefault(op, _head(op))
        indent = "    "
        if rule.scope != "any":
            if scopes.get(op) != rule.scope:
                comparison = op in ops.BY_NAME and ops.BY_NAME[op] in ops.COMPARISONS
                subject = "out.src[0].dtype" if comparison else "out.dtype"
                lines.append(f"    if {_SCOPES[rule.scope].format(subject)}:")
            indent = "        "
        scopes[op] = rule.scope
        result = _replacement(rule, replacement, gradient)
        declines = not gradient and _may_decline(replacement)
        lines.append(f"{indent}# {rule.name}: {rule.text}")
        for steps in _alternatives(rule, pattern, condition):
            lines += _emit(steps, condition, result, number, indent, declines)
    return _module(rules, bodies, title, gradient)


def _head(op: str) -> list[str]:
    names = [f"s{i}" for i in range(ops.BY_NAME[op].arity)] if op in ops.BY_NAME else []
    return [f"    {', '.join(names)}{',' * (len(names) == 1)} = out.src"] if names else []


def _free_g(rule: Rule) -> bool:
    pattern, replacement, _ = split(rule)
    bound = {n.id for n in ast.walk(pattern) if isinstance(n, ast.Name)}
    return "g" not in bound and any(
        isinstance(n, ast.Name) and n.id == "g" for n in ast.walk(replacement)
    )


def _alternatives(rule: Rule, pattern: ast.expr, condition: str) -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    n = _count_swappable(pattern)
    once = _swappable(pattern) and _any_order_alike(pattern, condition)
    for orders in itertools.product((False, True), repeat=n):
        if once and orders[0]:
            continue
        m = _Matching()
        m.node(pattern, "out", iter(orders), rule)
        m.steps += [("let", f"{v} = {node}") for v, node in m.bound.items() if node and v != node]
        found.append(m.steps)
    return found


def _may_decline(replacement: ast.expr) -> bool:
    """Whether the replacement is the call of a Python function, which may return None."""
    if not isinstance(replacement, ast.Call):
        return False
    op = pattern_op(replacement)
    return op is None or op not in ops.BY_NAME


def _emit(
    steps: list[tuple[str, str]], condition: str, result: str, number: int, indent: str,
    may_decline: bool,
) -> list[str]:  # fmt: skip
    lines: list[str] = []
    tests: list[str] = []
    every = [*steps, *([("if", condition)] if condition else [])]
    for kind, text in every:
        if kind == "if":
            tests.append(text)
            continue
        if tests:
            lines.append(f"{indent}if {' and '.join(tests)}:")
            indent += "    "
            tests = []
        lines.append(indent + text)
    if tests:
        lines.append(f"{indent}if {' and '.join(_parenthesised(t) for t in tests)}:")
        indent += "    "
    if may_decline:
        lines += [f"{indent}new = {result}", f"{indent}if new is not None:",
                  f"{indent}    return new, {number}"]  # fmt: skip
    else:
        lines.append(f"{indent}return {result}, {number}")
    return lines


def _parenthesised(test: str) -> str:
    return f"({test})" if " or " in test or " if " in test else test


def _module(rules: Sequence[Rule], bodies: dict[str, list[str]], title: str, gradient: bool) -> str:
    code = "\n".join(line for lines in bodies.values() for line in lines if "# " not in line)
    words = set(re.findall(r"[A-Za-z_]\w*", code))
    imports = []
    for module in dict.fromkeys(m for r in rules for m in r.uses):
        space = vars(importlib.import_module(module))
        names = [n for n in sorted(words & set(space)) if _used_freely(n, rules)
                 and getattr(space[n], "__module__", None) == module]  # fmt: skip
        if names:
            imports.append(f"from {module} import {', '.join(names)}")
    kind = "GradientSet" if gradient else "RuleSet"
    result = "tuple[UOp | None, ...]" if gradient else "UOp"
    given = "out: UOp, g: UOp" if gradient else "out: UOp"
    out = [f'"""Generated from {title} by `python -m anneal.uop.upat`: not to be edited."""', "",
           "# ruff: noqa", "# mypy: ignore-errors", "from __future__ import annotations", "",
           "import math", "", "from anneal.uop import dtypes, ops",
           f"from anneal.uop.rewrite import Rule, {kind}, build", "from anneal.uop.uop import UOp",
           *imports, ""]  # fmt: skip
    for op, lines in bodies.items():
        out += ["", f"def _{op.lower()}({given}) -> tuple[{result}, int] | None:", *lines,
                "    return None", ""]  # fmt: skip
    out += ["", f"RULES = {kind}(", "    ("]
    out += [f"        Rule({', '.join(repr(field) for field in r)})," for r in rules]
    table = ", ".join(f"ops.{op}: _{op.lower()}" for op in bodies)
    out += ["    ),", f"    {{{table}}},", ")", ""]
    return "\n".join(out)


def _used_freely(name: str, rules: Sequence[Rule]) -> bool:
    return any(re.search(rf"(?<![\w.]){name}\b", r.text.partition(" -> ")[2]) for r in rules)


def load(rules: Sequence[Rule]) -> RuleSet:
    """A RuleSet compiled here and now from rules (of files, or written for the occasion)."""
    space: dict[str, Any] = {"__name__": "anneal.rules._loaded"}
    exec(compile(compile_rules(rules, "rules at hand"), "<rules>", "exec"), space)
    made = space["RULES"]
    assert isinstance(made, RuleSet)
    return made


def generated(path: Path) -> str:
    """What the module of the rule file at `path` should contain."""
    title = f"{path.parent.name}/{path.name}"
    return compile_rules(parse(path.read_text(encoding="utf-8"), title), title)


def main(arguments: Sequence[str]) -> int:
    """Writes every generated module; with --check only compares. 1: some were not current."""
    stale = []
    for path in sorted(RULES_DIR.glob("*.upat")):
        target = path.with_name(f"_{path.stem}.py")
        text = generated(path)
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            stale.append(target.name)
            if "--check" not in arguments:
                target.write_text(text, encoding="utf-8")
    if "--check" in arguments and stale:
        print(f"not current: {', '.join(stale)}; run python -m anneal.uop.upat")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
