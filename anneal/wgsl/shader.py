"""WGSL of one kernel.

In: a kernel whose ranges are GRID, LOCAL, LOOP, UNROLL and VECTOR. Out: a module with the entry
point `main` for `launch` workgroups, a function of the kernel alone. A buffer whose vectors all lie
at multiples of four is an array of vec4. What WGSL leaves open, or drivers get wrong, is written
out: NaN in max and min, conversions, shifts by too much, division by 0.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from anneal.kernel.ir import Kernel, count_of, kind_of, name_of, size_of, terms
from anneal.kernel.linearize import (
    Across,
    Barrier,
    Fold,
    Instruction,
    Let,
    Loop,
    Memory,
    Place,
    Put,
    linearize,
    width_of,
)
from anneal.kernel.opts import identity_of
from anneal.kernel.spec import local_axes
from anneal.uop import dtypes, ops
from anneal.uop.dtypes import DType
from anneal.uop.symbolic import lo
from anneal.uop.uop import Scalar, UOp

_TYPES = {dtypes.bool_: "bool", dtypes.int32: "i32", dtypes.uint32: "u32", dtypes.float32: "f32",
          dtypes.float16: "f16", dtypes.index: "i32"}  # fmt: skip
_LANES = "xyzw"
_WIDE = 4
_INFIX = {ops.ADD: "+", ops.SUB: "-", ops.MUL: "*", ops.DIV: "/", ops.AND: "&", ops.OR: "|",
          ops.XOR: "^", ops.LT: "<", ops.EQ: "=="}  # fmt: skip
_LOGICAL = {ops.ADD: "|", ops.MUL: "&", ops.MAX: "|", ops.MIN: "&", ops.XOR: "!="}
_CALLS = {ops.SQRT: "sqrt", ops.FLOOR: "floor", ops.ROUND: "round", ops.ABS: "abs"}
_FOLDS = {"add": ops.ADD, "mul": ops.MUL, "max": ops.MAX, "min": ops.MIN}


@dataclass(frozen=True, slots=True)
class Text:
    """A kernel's WGSL; `groups`: workgroups along each axis, dims; `workgroup`: its invocations
    along each axis."""

    source: str
    groups: tuple[UOp, ...]
    workgroup: tuple[int, ...]


def render(kernel: Kernel) -> Text:
    """The WGSL of a kernel."""
    return _Renderer(kernel).text()


class _Renderer:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.nodes = kernel.nodes
        self.lines: list[str] = []
        self.shared: list[str] = []
        self.names: dict[UOp, str] = {}
        self.count = 0
        self.depth = 1
        self.instructions = linearize(kernel)
        self.local = local_axes(kernel)
        self.sizes = [1, 1, 1]
        for r, axis in self.local.items():
            self.sizes[axis] = count_of(r) or 1
        self.wide = self._wide_memory()
        self.declared: set[UOp] = set()
        self.private: set[UOp] = set()

    def text(self) -> Text:
        grid = [r for r in self.kernel.ranges if kind_of(r) == "grid"][::-1]
        head = ["enable f16;"] if any(u.dtype is dtypes.float16 for u in self.nodes) else []
        written = self.kernel.written
        for p in self.kernel.params:
            access = "read_write" if p in written else "read"
            head.append(f"@group(0) @binding({p.arg}) var<storage, {access}> b{p.arg}: "
                        f"array<{self._stored(p)}>;")
            self.names[p] = f"b{p.arg}"
        for n, v in enumerate(self.kernel.variables):
            self.names[v] = f"variables[{n // _WIDE}].{_LANES[n % _WIDE]}"
        if self.kernel.variables:
            count = -(-len(self.kernel.variables) // _WIDE)
            head.append(f"@group(0) @binding({len(self.kernel.params)}) var<uniform> variables: "
                        f"array<vec4<i32>, {count}>;")
        for r, axis in self.local.items():
            self._count(r, f"i32(local.{_LANES[axis]})")
        for r, letter in zip(grid, _LANES, strict=False):
            self._count(r, f"i32(group.{letter})")
        if any(u.op is ops.OPAQUE for u in self.nodes):
            first = self.names[self.kernel.params[0]]
            self._out(f"let unknown_zero = u32(arrayLength(&{first}) == 0u);")
        self._all(self.instructions)
        sizes = ", ".join(map(str, self.sizes))
        main = [f"@compute @workgroup_size({sizes})",
                "fn main(@builtin(workgroup_id) group: vec3<u32>, "
                "@builtin(local_invocation_id) local: vec3<u32>) {"]  # fmt: skip
        source = "\n".join([*head, *self.shared, *main, *self.lines, "}", ""])
        return Text(source, tuple([r.src[0] for r in grid]), tuple(self.sizes))

    def _count(self, r: UOp, text: str) -> None:
        self.names[r] = self._fresh("r")
        self._out(f"let {self.names[r]} = {text};  // {name_of(r)}")

    # -- memory -------------------------------------------------------------------------------

    def _places(self, instructions: Sequence[Instruction]) -> list[tuple[Place, int]]:
        """Every access, with its lanes."""
        found: list[tuple[Place, int]] = []
        todo = list(instructions)
        while todo:
            i = todo.pop()
            if isinstance(i, Let) and i.place:
                found.append((i.place, 1 if i.place.step == 0 else width_of(i.node)))
            elif isinstance(i, Put):
                found.append((i.place, self._lanes_by(i)))
            elif isinstance(i, Loop):
                todo += i.body
        return found

    def _wide_memory(self) -> frozenset[UOp]:
        """The memory that is an array of vec4: some vectors, all at multiples of four."""
        some: set[UOp] = set()
        never: set[UOp] = set()
        for place, lanes in self._places(self.instructions):
            if lanes == 1:
                continue
            base = terms(place.base) if place.base is not None else {}
            aligned = place.step == 1 and place.offset % _WIDE == 0
            if aligned and all(c % _WIDE == 0 for c in base.values()):
                some.add(place.memory)
            else:
                never.add(place.memory)
        return frozenset(u for u in some - never if u.dtype.itemsize == 4)

    def _stored(self, memory: UOp) -> str:
        one = "u32" if memory.dtype is dtypes.bool_ else self._type(memory.dtype, 1)
        return f"vec4<{one}>" if memory in self.wide else one

    def _memory(self, i: Memory) -> None:
        if i.node in self.declared:
            return
        self.declared.add(i.node)
        name = self.names[i.node] = f"s{-1 - i.node.arg}"
        size = int(size_of(i.node).arg)
        count = -(-size // _WIDE) if i.node in self.wide else size
        space = "<workgroup>" if i.space == "workgroup" else ""
        line = f"var{space} {name}: array<{self._stored(i.node)}, {count}>;"
        if space:
            self.shared.append(line)
        else:
            self.private.add(i.node)
            self.lines.insert(0, f"  {line}")

    def _index(self, place: Place, more: int = 0) -> str:
        offset = place.offset + more
        if place.base is None:
            return str(offset)
        base = self._value(place.base, 1)
        return f"{base} + ({offset})" if offset else base

    def _element(self, place: Place, lane: int) -> str:
        """The text of one lane's element."""
        name = self.names[place.memory]
        if place.base is not None and width_of(place.base) > 1:
            at = f"{self._value(place.base, _WIDE)}.{_LANES[lane]} + ({place.offset})"
        else:
            at = self._index(place, lane * place.step)
        if place.memory in self.wide:
            return f"{name}[({at}) >> 2u][({at}) & 3]"
        return f"{name}[{at}]"

    def _load(self, u: UOp, place: Place) -> str:
        lanes = width_of(u)
        scattered = place.base is not None and width_of(place.base) > 1
        own = lanes if place.step or scattered else 1
        if own == 1:
            text = self._element(place, 0)
        elif place.memory in self.wide and not scattered:
            text = f"{self.names[place.memory]}[({self._index(place)}) >> 2u]"
        else:
            parts = ", ".join(self._element(place, n) for n in range(own))
            stored = "u32" if u.dtype is dtypes.bool_ else self._type(u.dtype, 1)
            text = f"vec4<{stored}>({parts})"
        if u.dtype is dtypes.bool_:
            zero = "0u" if own == 1 else "vec4<u32>(0u)"
            text = f"{text} != {zero}"
        name = self._let(text)
        if own < lanes:
            name = self._let(f"{self._type(u.dtype, lanes)}({name})")
        if len(u.src) == 2:
            return name
        gate, other = self._value(u.src[2], lanes), self._value(u.src[3], lanes)
        return self._let(f"select({other}, {name}, {gate})")

    def _lanes_by(self, i: Put) -> int:
        return max((count_of(r) or 1 for r in i.by if kind_of(r) == "vector"), default=1)

    def _put(self, i: Put) -> None:
        lanes, place = self._lanes_by(i), i.place
        value = self._value(i.value, lanes)
        if i.value.dtype is dtypes.bool_:
            ones = ("0u", "1u") if lanes == 1 else ("vec4<u32>(0u)", "vec4<u32>(1u)")
            value = self._let(f"select({ones[0]}, {ones[1]}, {value})")
        idle = [f"local.{_LANES[a]} == 0u" for r, a in self.local.items()
                if not any(q in i.by for q, b in self.local.items() if a == b)]  # fmt: skip
        idle = [] if place.memory in self.private else list(dict.fromkeys(idle))
        wide = place.memory in self.wide and lanes > 1
        gate = self._value(i.gate, width_of(i.gate)) if i.gate is not None else None
        each = i.gate is not None and width_of(i.gate) > 1
        if wide and not each:
            target = f"{self.names[place.memory]}[({self._index(place)}) >> 2u]"
            return self._write(target, value, [*idle, *([gate] if gate else [])])
        for n in range(lanes):
            lane = f".{_LANES[n]}" if lanes > 1 else ""
            on = [f"{gate}.{_LANES[n]}" if each else gate] if gate else []
            self._write(self._element(place, n), value + lane, [*idle, *on])
        return None

    def _write(self, target: str, value: str, conditions: Sequence[str | None]) -> None:
        text = f"{target} = {value};"
        on = " && ".join(f"({c})" for c in conditions if c)
        self._out(f"if ({on}) {{ {text} }}" if on else text)

    # -- text ---------------------------------------------------------------------------------

    def _out(self, line: str) -> None:
        self.lines.append("  " * self.depth + line)

    def _fresh(self, prefix: str = "v") -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def _let(self, text: str) -> str:
        name = self._fresh()
        self._out(f"let {name} = {text};")
        return name

    def _type(self, dtype: DType, lanes: int) -> str:
        one = _TYPES.get(dtype)
        if one is None:
            raise TypeError(f"WGSL has no {dtype}")
        return one if lanes == 1 else f"vec{lanes}<{one}>"

    def _value(self, u: UOp, lanes: int) -> str:
        kind = self._type(u.dtype, lanes)
        if u.op is ops.CONST:
            text = _literal(u.arg, u.dtype)
            return text if lanes == 1 else f"{kind}({text})"
        if u.op is ops.RANGE and kind_of(u) == "vector":
            return f"vec{lanes}<i32>({', '.join(map(str, range(lanes)))})"
        name = self.names[u]
        return name if width_of(u) == lanes else f"{kind}({name})"

    def _all(self, instructions: Sequence[Instruction]) -> None:
        for i in instructions:
            if isinstance(i, Let):
                self.names[i.node] = self._load(i.node, i.place) if i.place else self._node(i.node)
            elif isinstance(i, Put):
                self._put(i)
            elif isinstance(i, Loop):
                self._loop(i)
            elif isinstance(i, Across):
                self.names[i.node] = self._across(i)
            elif isinstance(i, Barrier):
                self._out("storageBarrier();")
                self._out("workgroupBarrier();")
            else:
                self._memory(i)

    # -- loops --------------------------------------------------------------------------------

    def _loop(self, i: Loop) -> None:
        for m in i.reductions if i.first else ():
            lanes = width_of(m)
            self.names[m] = self._fresh("acc")
            start = _literal(identity_of(m), m.dtype)
            kind = self._type(m.dtype, lanes)
            self._out(f"var {self.names[m]} = {start if lanes == 1 else f'{kind}({start})'};")
        name = self.names[i.range] = self._fresh("r")
        size = count_of(i.range)
        bound = str(size) if size is not None else self._value(i.range.src[0], 1)
        self._out(f"for (var {name} = 0; {name} < {bound}; {name}++) {{  // {name_of(i.range)}")
        self.depth += 1
        self._all(i.body)
        for f in i.folds:
            self._fold(f)
        self.depth -= 1
        self._out("}")

    def _fold(self, f: Fold) -> None:
        acc, lanes = self.names[f.node], width_of(f.node)
        values = [self._value(v, lanes) for v in f.values]
        if len(values) == 2:
            self._out(f"{acc} = {acc} + {values[0]} * {values[1]};")
        else:
            how = _FOLDS[f.node.arg[0]]
            self._out(f"{acc} = {self._binary(how, f.node.dtype, lanes, acc, values[0])};")

    def _across(self, i: Across) -> str:
        dtype, how = i.node.dtype, _FOLDS[i.node.arg[0]]
        if kind_of(i.range) == "vector":
            x = self._let(self._value(i.partial, _WIDE))
            low, high = (self._let(self._binary(how, dtype, 1, f"{x}.{a}", f"{x}.{b}"))
                         for a, b in ("xz", "yw"))  # fmt: skip
            return self._let(self._binary(how, dtype, 1, low, high))
        return self._across_workgroup(i, how, dtype)

    def _across_workgroup(self, i: Across, how: ops.Op, dtype: DType) -> str:
        """A tree over memory of the workgroup, of which every invocation gets the root."""
        n, lanes = count_of(i.range) or 1, width_of(i.node)
        array, kind = self._fresh("w"), self._type(dtype, lanes)
        if dtype is dtypes.bool_:
            raise NotImplementedError("bools across a workgroup")
        axis = self.local[i.range]
        mine = f"i32(local.{_LANES[axis]})"
        others = [a for a in range(3) if a != axis and self.sizes[a] > 1]
        row = " + ".join([f"i32(local.{_LANES[a]}) * "
                          f"{math.prod(self.sizes[b] for b in others if b < a)}" for a in others])
        first = self._let(f"({row}) * {n}" if row else "0")
        self.shared.append(f"var<workgroup> {array}: array<{kind}, {math.prod(self.sizes)}>;")
        self._out(f"{array}[{first} + {mine}] = {self._value(i.partial, lanes)};")
        self._out("workgroupBarrier();")
        step = 1 << max((n - 1).bit_length() - 1, 0)
        while step >= 1 and n > 1:
            self._out(f"if ({mine} < {step} && {mine} + {step} < {n}) {{")
            self.depth += 1
            a = self._let(f"{array}[{first} + {mine}]")
            b = self._let(f"{array}[{first} + {mine} + {step}]")
            self._out(f"{array}[{first} + {mine}] = {self._binary(how, dtype, lanes, a, b)};")
            self.depth -= 1
            self._out("}")
            self._out("workgroupBarrier();")
            step //= 2
        out = self._let(f"{array}[{first}]")
        self._out("workgroupBarrier();")
        return out

    # -- operations ---------------------------------------------------------------------------

    def _node(self, u: UOp) -> str:
        lanes = width_of(u)
        src = [self._value(s, lanes) for s in u.src]
        of, kind = u.src[0].dtype, self._type(u.dtype, lanes)
        if u.op is ops.OPAQUE:
            return self._opaque(u, lanes, src[0])
        if u.op is ops.WHERE:
            return self._let(f"select({src[2]}, {src[1]}, {src[0]})")
        if u.op is ops.CAST:
            return self._let(self._cast(of, u.dtype, lanes, src[0]))
        if u.op is ops.BITCAST:
            return self._let(f"bitcast<{kind}>({src[0]})")
        if u.op is ops.NOT:
            return self._let(f"!{src[0]}" if u.dtype is dtypes.bool_ else f"~{src[0]}")
        if u.op is ops.NEG:
            one = _splat("1u", lanes, "u32")
            return self._let(f"-{src[0]}" if u.dtype.kind != "u" else f"~{src[0]} + {one}")
        if u.op in _CALLS:
            return self._let(f"{_CALLS[u.op]}({src[0]})")
        if u.op in (ops.FLOORDIV, ops.MOD):
            return self._division(u, lanes, *src)
        if u.op in (ops.SHL, ops.SHR):
            return self._shift(u, lanes, *src)
        if u.op is ops.NE:
            return self._let(f"!({src[0]} == {src[1]})")
        if u.op is ops.LT and of is dtypes.bool_:
            return self._let(f"!{src[0]} & {src[1]}")
        return self._let(self._binary(u.op, of, lanes, *src))

    def _opaque(self, u: UOp, lanes: int, x: str) -> str:
        """The same bits, by an exclusive or with a zero that no driver knows to be one: drivers see
        through variables that are never written."""
        kind, bits = self._type(u.dtype, lanes), self._type(dtypes.uint32, lanes)
        if u.dtype is not dtypes.float32:
            raise NotImplementedError(f"an OPAQUE {u.dtype}")
        return self._let(f"bitcast<{kind}>(bitcast<{bits}>({x}) ^ {bits}(unknown_zero))")

    def _binary(self, op: ops.Op, dtype: DType, lanes: int, a: str, b: str) -> str:
        if dtype is dtypes.bool_ and op in _LOGICAL:
            return f"{a} {_LOGICAL[op]} {b}"
        if op in (ops.MAX, ops.MIN):
            if not dtype.is_float:
                return f"{'max' if op is ops.MAX else 'min'}({a}, {b})"
            sign = ">" if op is ops.MAX else "<"
            return f"select(select({b}, {a}, {a} {sign} {b}), {a}, !({a} == {a}))"
        if op in _INFIX:
            return f"{a} {_INFIX[op]} {b}"
        raise NotImplementedError(f"WGSL has no {op} of {dtype}")

    def _division(self, u: UOp, lanes: int, a: str, b: str) -> str:
        """Floored, 0 where the divisor is. WGSL gives x / 0 = x and x % 0 = 0."""
        quotient = u.op is ops.FLOORDIV
        if u.dtype.is_float:
            raise NotImplementedError("a remainder of floats")
        if lo(u.src[0]) >= 0 and lo(u.src[1]) > 0:
            return self._let(f"{a} {'/' if quotient else '%'} {b}")
        kind = self._type(u.dtype, lanes)
        zero, one = f"{kind}(0)", f"{kind}(1)"
        by_zero = self._let(f"{b} == {zero}")
        r = self._let(f"{a} % {b}")
        if u.dtype.kind == "u":
            return self._let(f"select({a} / {b}, {zero}, {by_zero})") if quotient else r
        below = self._let(f"(({r} ^ {b}) < {zero}) & ({r} != {zero})")
        if quotient:
            q = self._let(f"{a} / {b}")
            return self._let(f"select(select({q}, {q} - {one}, {below}), {zero}, {by_zero})")
        return self._let(f"select({r}, {r} + {b}, {below})")

    def _shift(self, u: UOp, lanes: int, a: str, b: str) -> str:
        kind, unsigned = self._type(u.dtype, lanes), self._type(dtypes.uint32, lanes)
        count = self._let(f"bitcast<{unsigned}>({b})" if u.dtype.kind == "i" else b)
        over = self._let(f"{count} > {unsigned}(31u)")
        near = self._let(f"min({count}, {unsigned}(31u))")
        text = self._let(f"{a} {'<<' if u.op is ops.SHL else '>>'} {near}")
        if u.op is ops.SHR and u.dtype.kind == "i":
            return text
        return self._let(f"select({text}, {kind}(0), {over})")

    def _cast(self, old: DType, new: DType, lanes: int, x: str) -> str:
        kind = self._type(new, lanes)
        if new is dtypes.bool_:
            return f"!({x} == {self._type(old, lanes)}(0))"
        if old.is_float and new.is_int:
            wide = self._type(dtypes.float32, lanes)
            f = self._let(f"{wide}({x})")
            top = "2147483648.0f" if new.kind == "i" else "4294967296.0f"
            most = "2147483647" if new.kind == "i" else "4294967295u"
            low = self._let(f"select({kind}({f}), {kind}({most}), {f} >= {wide}({top}))")
            return f"select({kind}(0), {low}, {f} == {f})"
        return x if self._type(old, lanes) == kind else f"{kind}({x})"


def _splat(text: str, lanes: int, kind: str) -> str:
    return text if lanes == 1 else f"vec{lanes}<{kind}>({text})"


def _literal(value: Scalar, dtype: DType) -> str:
    if dtype.kind == "b":
        return "true" if value else "false"
    if dtype.kind == "u":
        return f"{int(value)}u"
    if dtype.is_int:
        return "(-2147483647 - 1)" if value == -(1 << 31) else f"({int(value)})"
    value = float(value)
    if math.isnan(value) or math.isinf(value) or (value == 0 and math.copysign(1, value) < 0):
        (bits,) = struct.unpack("I", struct.pack("f", value))
        text = f"bitcast<f32>(0x{bits:08x}u)"
        return text if dtype is dtypes.float32 else f"f16({text})"
    return f"{value!r}{'h' if dtype is dtypes.float16 else 'f'}"


