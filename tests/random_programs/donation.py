"""Arrays that share memory, and donation: what was named is deleted, and nothing else changes.

A program is a list of lines. Every array has a twin in NumPy, by the name in capitals.
"""

from __future__ import annotations

from tests.random_programs.builder import HEADER
from tests.random_programs.choices import Choices

# Of the array x; its twin is X. In an eager program, and in the body of a jitted function.
_OPERATIONS = (
    ("{x} + 1.0", "{X} + 1"), ("{x} + 0.0", "{X}"), ("{x}[:]", "{X}"), ("anp.array({x})", "{X}"),
    ("{x} * 2.0", "{X} * 2"), ("{x}.reshape(-1).reshape({x}.shape)", "{X}"), ("{x}.T.T", "{X}"),
    ("{x}[::-1]", "{X}[::-1]"), ("{x}.at[0].set(5.0)", "np.concatenate([[5.0], {X}[1:]])"),
    ("anp.where({x} > 0, {x}, {x})", "{X}"), ("anp.zeros(4) + {x}", "{X}"),
    ("anp.zeros(4)", "np.zeros(4)"), ("anp.broadcast_to({x}[0], (4,))", "np.full(4, {X}[0])"),
    ("anp.concatenate([{x}[2:], {x}[:2]])", "np.concatenate([{X}[2:], {X}[:2]])"),
    ("{x}.astype(anp.float32)", "{X}"), ("anp.ravel({x})", "{X}"), ("anp.positive({x}) * 1", "{X}"),
)  # fmt: skip
# Several results of x and y: (body, twins).
_FUNCTIONS = (
    ("(x + 1.0,)", ("{X} + 1",)),
    ("(x,)", ("{X}",)),
    ("(x + 1.0, x + 1.0)", ("{X} + 1", "{X} + 1")),
    ("(x, x)", ("{X}", "{X}")),
    ("(x, x + y)", ("{X}", "{X} + {Y}")),
    ("(y, x)", ("{Y}", "{X}")),
    ("(x + y, x - y, y)", ("{X} + {Y}", "{X} - {Y}", "{Y}")),
    ("(x[::-1], x.reshape(2, 2).reshape(4))", ("{X}[::-1]", "{X}")),
    ("(y * 2.0, y * 2.0 + 0.0, x)", ("{Y} * 2", "{Y} * 2", "{X}")),
    ("(x + held, held)", ("{X} + HELD", "HELD")),
    ("(held, held + 1.0, y)", ("HELD", "HELD + 1", "{Y}")),
    ("(anp.zeros(4), x * 0.0 + 3.0)", ("np.zeros(4)", "np.full(4, 3.0)")),
)  # fmt: skip


class _Writer:
    """The lines so far, which arrays live, and which jitted functions there are."""

    def __init__(self, c: Choices) -> None:
        self.c = c
        self.lines = [HEADER, "held = anp.array([9.0, 8.0, 7.0, 6.0])",
                      "HELD = np.array([9.0, 8.0, 7.0, 6.0])"]  # fmt: skip
        self.alive: list[str] = []
        self.gone: list[str] = []
        self.count = 0
        self.functions: dict[str, tuple[int, tuple[str, ...], tuple[int, ...]]] = {}

    def new(self) -> str:
        self.count += 1
        return f"a{self.count}"

    def add(self, line: str) -> None:
        self.lines.append(line)

    def kill(self, name: str) -> None:
        """`name` was donated."""
        self.alive.remove(name)
        self.gone.append(name)
        self.add(f"checks.deleted({name})")


def donation(c: Choices) -> str:
    """Arrays made, shared, donated and read, for some ten lines."""
    w = _Writer(c)
    _source(w)
    steps = (_operation, _call, _call, _source, _read, _tree_call, _realized, _repeat)
    for _ in range(c.number(2, 12)):
        c.pick(steps)(w)
    for name in w.alive:
        w.add(f"checks.same({name}, {name.upper()}.astype(np.float32), what={name!r})")
    w.add("checks.same(held, HELD.astype(np.float32), what='held')")
    text = "\n".join(f"    {line}" for line in "\n".join(w.lines[1:]).splitlines())
    return (f"{w.lines[0]}\n\ndef check():\n{text}\n\n\nfor device in checks.devices:\n"
            f"    with anneal.default_device(device):\n        check()\n")  # fmt: skip


def _source(w: _Writer) -> None:
    """An array from NumPy's memory, which is written to afterwards, or from constants."""
    name, kind, n = w.new(), w.c.number(0, 2), w.c.number(0, 9)
    w.add(f"{name.upper()} = np.arange({n}.0, {n + 4}.0)" if kind else
          f"{name.upper()} = np.full(4, {n}.0)")  # fmt: skip
    if kind == 2:
        w.add(f"memory = {name.upper()}.astype(np.float32)")
        w.add(f"{name} = anp.array(memory)")
        w.add("memory[...] = 55")
    else:
        w.add(f"{name} = anp.arange({n}.0, {n + 4}.0)" if kind else f"{name} = anp.full(4, {n}.0)")
    w.alive.append(name)


def _operation(w: _Writer) -> None:
    x: str = w.c.pick(w.alive or ["held"])
    text, twin = w.c.pick(_OPERATIONS)
    name = w.new()
    w.add(f"{name} = {text.format(x=x)}")
    w.add(f"{name.upper()} = {twin.format(X=x.upper())}")
    w.alive.append(name)


def _realized(w: _Writer) -> None:
    if w.alive:
        w.add(f"{w.c.pick(w.alive)}.block_until_ready()")


def _read(w: _Writer) -> None:
    """Reads, and writes into what NumPy was given."""
    if w.alive:
        x = w.c.pick(w.alive)
        w.add(f"checks.same({x}, {x.upper()}.astype(np.float32), what={x!r})")
        if w.c.chance(2):
            w.add(f"checks.scribble({x})")


def _call(w: _Writer) -> None:
    """A jitted function of two arrays, of which some are donated."""
    body, twins = w.c.pick(_FUNCTIONS)
    donate = w.c.pick(((0,), (1,), (0, 1), ()))
    f = f"f{len(w.functions)}"
    w.add(f"{f} = anneal.jit(lambda x, y: {body}, donate_argnums={donate})")
    w.functions[f] = (len(twins), twins, donate)
    _called(w, f)


def _repeat(w: _Writer) -> None:
    """A function that was called before."""
    if w.functions:
        _called(w, w.c.pick(list(w.functions)))


def _called(w: _Writer, f: str) -> None:
    if len(w.alive) < 2:
        _source(w)
    if len(w.alive) < 2:
        _source(w)
    count, twins, donate = w.functions[f]
    x = w.c.pick(w.alive)
    y = w.c.pick([n for n in w.alive if n != x])
    names = [w.new() for _ in range(count)]
    w.add(f"{', '.join(names)}, = {f}({x}, {y})")
    given = [twin.format(X=x.upper(), Y=y.upper()) for twin in twins]
    w.add(f"{', '.join(n.upper() for n in names)}, = {', '.join(given)},")
    for i in donate:
        w.kill((x, y)[i])
    w.alive += names


def _tree_call(w: _Writer) -> None:
    """Steps of a state in a dictionary, which begins with one array twice or with two, given to
    the next step as it came from the last."""
    if not w.alive:
        return
    x = w.c.pick(w.alive)
    y = w.c.pick(w.alive)
    state, n = f"s{w.count}", w.c.number(1, 3)
    step = w.c.pick(("{'p': s['p'] + 1.0, 'e': s['e'] * 0.5 + s['p'] * 0.5}",
                     "{'p': s['p'] + 1.0, 'e': s['p'] + 1.0}",
                     "{'p': s['e'], 'e': s['p']}"))  # fmt: skip
    w.add(f"step = anneal.jit(lambda s: {step}, donate_argnums=0)")
    w.add(f"{state} = {{'p': {x}, 'e': {y}}}")
    w.add(f"{state.upper()} = {{'p': {x.upper()}, 'e': {y.upper()}}}")
    for _ in range(n):
        w.add(f"{state} = step({state})")
        twin = step.replace("s[", f"{state.upper()}[")
        w.add(f"{state.upper()} = {twin}")
    for name in dict.fromkeys((x, y)):
        w.kill(name)
    p, e = w.new(), w.new()
    w.add(f"{p}, {e} = {state}['p'], {state}['e']")
    w.add(f"{p.upper()}, {e.upper()} = {state.upper()}['p'], {state.upper()}['e']")
    w.alive += [p, e]
