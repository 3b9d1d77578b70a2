"""WGSL of one launch.

In: kernels whose ranges are GRID, LOCAL, LOOP, UNROLL and VECTOR. Out: a module with the entry
point `main`, a function of the kernels alone. A buffer whose vectors all lie at multiples of four
is an array of vec4. What WGSL leaves open, or drivers get wrong, is written out: NaN in max and
min, conversions, shifts by too much.
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
from anneal.uop.uop import Scalar, UOp, const

_TYPES = {dtypes.bool_: "bool", dtypes.int32: "i32", dtypes.uint32: "u32", dtypes.float32: "f32",
          dtypes.float16: "f16", dtypes.index: "i32"}  # fmt: skip
SUPPORTED = frozenset(_TYPES) - {dtypes.index}
_LANES = "xyzw"
_WIDE = 4
# Iterations that a driver may write out; of more it takes long to compile the text.
_FEW = 8
# Longest text of a value that is not named.
_LINE = 60
_INFIX = {ops.ADD: "+", ops.SUB: "-", ops.MUL: "*", ops.DIV: "/", ops.AND: "&", ops.OR: "|",
          ops.XOR: "^", ops.LT: "<", ops.EQ: "=="}  # fmt: skip
_LOGICAL = {ops.ADD: "|", ops.MUL: "&", ops.MAX: "|", ops.MIN: "&", ops.XOR: "!="}
_CALLS = {ops.SQRT: "sqrt", ops.FLOOR: "floor", ops.ROUND: "round", ops.ABS: "abs"}
_FOLDS = {"add": ops.ADD, "mul": ops.MUL, "max": ops.MAX, "min": ops.MIN}


@dataclass(frozen=True, slots=True)
class Text:
    """The WGSL of a launch; `groups`: workgroups along each axis, dims; `workgroup`: invocations of
    one along each axis; `params`: positions of the buffers that are bound, in order."""

    source: str
    params: tuple[int, ...]
    groups: tuple[UOp, ...]
    workgroup: tuple[int, ...]


def workgroup_of(kernel: Kernel) -> tuple[int, ...]:
    """The invocations of a workgroup along each axis."""
    sizes = [1, 1, 1]
    for r, axis in local_axes(kernel).items():
        sizes[axis] = count_of(r) or 1
    return tuple(sizes)


def fit_together(kernels: Sequence[Kernel]) -> bool:
    """Whether one launch can run kernels: whose invocations meet in none, or all of a workgroup."""
    shapes = {k: workgroup_of(k) for k in kernels}
    largest = tuple(map(max, zip(*shapes.values(), strict=True)))
    return all(shape == largest or not _meets(k) for k, shape in shapes.items())


def _meets(kernel: Kernel) -> bool:
    """Whether invocations of a workgroup wait for each other."""
    todo = list(linearize(kernel))
    for i in todo:
        if isinstance(i, Barrier) or isinstance(i, Across) and kind_of(i.range) == "local":
            return True
        todo += i.body if isinstance(i, Loop) else []
    return False


def render(*kernels: Kernel) -> Text:
    """The WGSL of one launch: kernels that do not wait for each other, and `fit_together`, have
    workgroups of their own."""
    return _Renderer(kernels).text()


class _Renderer:
    def __init__(self, kernels: Sequence[Kernel]) -> None:
        self.kernels = kernels
        self.lines: list[str] = []
        self.shared: list[str] = []
        self.helpers: dict[str, str] = {}
        self.zeros: dict[str, str] = {}
        self.names: dict[UOp, str] = {}
        self.count = 0
        self.depth = 1
        self.instructions = [linearize(k) for k in kernels]
        self.once = _used_once(self.instructions)
        self.sizes = tuple(map(max, zip(*map(workgroup_of, kernels), strict=True)))
        self.local: dict[UOp, int] = {}
        self.list = 0  # the id of the list whose instructions are written
        self.wide = self._wide_memory()
        self.read_only_vectors = self.wide.difference(*(k.written for k in kernels))
        # Names of vectors of which single elements were wanted so far, by memory, base and offset.
        self.vectors: dict[tuple[UOp, UOp | None, int], str] = {}
        self.declared: set[UOp] = set()
        self.private: set[UOp] = set()
        # Arrays of one invocation become registers only where loops over them are written out.
        self.keeps = any(u.op is ops.STAGE and u.arg[0] == "register"
                         for k in kernels for u in k.nodes)  # fmt: skip

    def text(self) -> Text:
        nodes = {u for k in self.kernels for u in k.nodes}
        params = sorted({place.memory for place, _ in self._places() if place.memory.arg >= 0},
                        key=lambda p: int(p.arg))  # fmt: skip
        written = frozenset[UOp]().union(*(k.written for k in self.kernels))
        head = ["enable f16;"] if any(u.dtype is dtypes.float16 for u in nodes) else []
        for n, p in enumerate(params):
            access = "read_write" if p in written else "read"
            head.append(f"@group(0) @binding({n}) var<storage, {access}> b{n}: "
                        f"array<{self._stored(p)}>;")
            self.names[p] = f"b{n}"
        variables = sorted({v for k in self.kernels for v in k.variables}, key=lambda v: str(v.arg))
        for n, v in enumerate(variables):
            self.names[v] = f"variables[{n // _WIDE}].{_LANES[n % _WIDE]}"
        if variables:
            count = -(-len(variables) // _WIDE)
            head.append(f"@group(0) @binding({len(params)}) var<uniform> variables: "
                        f"array<vec4<i32>, {count}>;")
        groups = self._whole() if len(self.kernels) == 1 else self._side_by_side()
        sizes = ", ".join(map(str, self.sizes))
        main = [f"@compute @workgroup_size({sizes})",
                "fn main(@builtin(workgroup_id) group: vec3<u32>, "
                "@builtin(local_invocation_id) local: vec3<u32>) {"]  # fmt: skip
        main += self.zeros.values()
        source = [*head, *self.shared, *self.helpers.values(), *main, *self.lines, "}", ""]
        bound = tuple([int(p.arg) for p in params])
        return Text("\n".join(source), bound, groups, self.sizes)

    def _whole(self) -> tuple[UOp, ...]:
        """The only kernel, along the axes of the grid. The number of workgroups along each."""
        grid = _grid(self.kernels[0])[::-1]
        for r, letter in zip(grid, _LANES, strict=False):
            self._count(r, f"i32(group.{letter})")
        self._kernel(0)
        return tuple([r.src[0] for r in grid])

    def _side_by_side(self) -> tuple[UOp, ...]:
        """Each kernel in workgroups of its own, one after another along one axis."""
        start = 0
        for n, kernel in enumerate(self.kernels):
            grid = _grid(kernel)
            groups = math.prod(count_of(r) or 1 for r in grid)
            known = dict(self.names)
            inside = [f"group.x >= {start}u"] if start else []
            inside.append(f"group.x < {start + groups}u")
            inside += [f"local.{_LANES[a]} < {n}u" for a, n in enumerate(workgroup_of(kernel))
                       if n < self.sizes[a]]  # fmt: skip
            self._out(f"if ({' && '.join(inside)}) {{")
            self.depth += 1
            rest = groups
            for r in grid:
                size = count_of(r) or 1
                rest //= size
                self._count(r, f"i32((group.x - {start}u) / {rest}u % {size}u)")
            self._kernel(n)
            self.depth -= 1
            self._out("}")
            self.names, self.declared, self.vectors = known, set(), {}
            start += groups
        return (const(start, dtypes.index),)

    def _kernel(self, n: int) -> None:
        self.local = local_axes(self.kernels[n])
        for r, axis in self.local.items():
            self._count(r, f"i32(local.{_LANES[axis]})")
        self._all(self.instructions[n])

    def _count(self, r: UOp, text: str) -> None:
        self.names[r] = self._fresh("r")
        self._out(f"let {self.names[r]} = {text};  // {name_of(r)}")

    # -- memory -------------------------------------------------------------------------------

    def _places(self) -> list[tuple[Place, int]]:
        """Every access, with its lanes."""
        found: list[tuple[Place, int]] = []
        todo = [i for body in self.instructions for i in body]
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
        """The memory that is an array of vec4: some vectors, or all four elements of one that are
        read one by one, and all of them at multiples of four."""
        some: set[UOp] = set()
        never: set[UOp] = set()
        parts: dict[tuple[UOp, UOp | None, int], set[int]] = {}
        for place, lanes in self._places():
            if lanes == 1:
                if _begins_a_vector(place):
                    lane = place.offset % _WIDE
                    parts.setdefault((place.memory, place.base, place.offset - lane),
                                     set()).add(lane)
            elif place.step == 1 and place.offset % _WIDE == 0 and _begins_a_vector(place):
                some.add(place.memory)
            else:
                never.add(place.memory)
        some.update(memory for (memory, *_), lanes in parts.items() if len(lanes) == _WIDE)
        return frozenset(u for u in some - never if u.dtype.itemsize == 4)

    def _stored(self, memory: UOp) -> str:
        one = "u32" if memory.dtype is dtypes.bool_ else self._type(memory.dtype, 1)
        return f"vec4<{one}>" if memory in self.wide else one

    def _memory(self, i: Memory) -> None:
        if i.node in self.declared:
            return
        self.declared.add(i.node)
        name = self.names[i.node] = self._fresh("s")
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
        base = _bare(self._value(place.base, 1))
        return f"{base} + {offset}" if offset > 0 else f"{base} - {-offset}" if offset else base

    def _element(self, place: Place, lane: int) -> str:
        """The text of one lane's element."""
        name = self.names[place.memory]
        if place.base is not None and width_of(place.base) > 1:
            at = f"{self._value(place.base, _WIDE)}.{_LANES[lane]} + {place.offset}"
        else:
            at = self._index(place, lane * place.step)
        if place.memory in self.wide:
            return f"{name}[{_grouped(at)} >> 2u][{_grouped(at)} & 3]"
        return f"{name}[{at}]"

    def _load(self, u: UOp, place: Place) -> str:
        lanes = width_of(u)
        scattered = place.base is not None and width_of(place.base) > 1
        own = lanes if place.step or scattered else 1
        if own == 1 and place.memory in self.read_only_vectors and _begins_a_vector(place):
            text = self._part_of_a_vector(place)
        elif own == 1:
            text = self._element(place, 0)
        elif place.memory in self.wide and not scattered:
            text = f"{self.names[place.memory]}[{_grouped(self._index(place))} >> 2u]"
        else:
            parts = ", ".join(self._element(place, n) for n in range(own))
            stored = "u32" if u.dtype is dtypes.bool_ else self._type(u.dtype, 1)
            text = f"vec4<{stored}>({parts})"
        if u.dtype is dtypes.bool_:
            zero = "0u" if own == 1 else "vec4<u32>(0u)"
            text = f"{text} != {zero}"
        name = self._let(text)
        if own < lanes:
            name = f"{self._type(u.dtype, lanes)}({name})"
        if len(u.src) > 2:
            gate, other = self._value(u.src[2], lanes), self._value(u.src[3], lanes)
            name = f"select({other}, {name}, {_bare(gate)})"
        return name if "(" not in name else self._kept(u, name)

    def _part_of_a_vector(self, place: Place) -> str:
        """An element of a vector that is read whole, once in each loop."""
        lane = place.offset % _WIDE
        key = (place.memory, place.base, place.offset - lane)
        if key not in self.vectors:
            at = self._index(place, -lane)
            self.vectors[key] = self._let(f"{self.names[place.memory]}[{_grouped(at)} >> 2u]")
        return f"{self.vectors[key]}.{_LANES[lane]}"

    def _lanes_by(self, i: Put) -> int:
        return max((count_of(r) or 1 for r in i.by if kind_of(r) == "vector"), default=1)

    def _put(self, i: Put) -> None:
        lanes, place = self._lanes_by(i), i.place
        value = _bare(self._value(i.value, lanes))
        if i.value.dtype is dtypes.bool_:
            ones = ("0u", "1u") if lanes == 1 else ("vec4<u32>(0u)", "vec4<u32>(1u)")
            value = f"select({ones[0]}, {ones[1]}, {value})"
        whole = place.memory in self.wide and not (i.gate is not None and width_of(i.gate) > 1)
        if lanes > 1 and not whole:
            value = self._let(value)
        idle = [f"local.{_LANES[a]} == 0u" for r, a in self.local.items()
                if not any(q in i.by for q, b in self.local.items() if a == b)]  # fmt: skip
        idle = [] if place.memory in self.private else list(dict.fromkeys(idle))
        wide = place.memory in self.wide and lanes > 1
        gate = self._value(i.gate, width_of(i.gate)) if i.gate is not None else None
        each = i.gate is not None and width_of(i.gate) > 1
        if wide and not each:
            target = f"{self.names[place.memory]}[{_grouped(self._index(place))} >> 2u]"
            return self._write(target, value, [*idle, *([gate] if gate else [])])
        for n in range(lanes):
            lane = f".{_LANES[n]}" if lanes > 1 else ""
            on = [f"{gate}.{_LANES[n]}" if each else gate] if gate else []
            self._write(self._element(place, n), value + lane, [*idle, *on])
        return None

    def _write(self, target: str, value: str, conditions: Sequence[str | None]) -> None:
        text = f"{target} = {value};"
        on = [_grouped(c) for c in conditions if c]
        test = _bare(" && ".join(on)) if len(on) == 1 else " && ".join(on)
        self._out(f"if ({test}) {{ {text} }}" if on else text)

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

    def _unknown_zero(self, kind: str) -> str:
        """A zero that no driver knows to be one: they see through variables that are never
        written."""
        name = f"zero_{kind}"
        if name not in self.zeros:
            self.zeros[name] = f"  let {name} = {kind}(arrayLength(&b0) == 0u);"
        return name

    def _kept(self, u: UOp, text: str) -> str:
        """The value of a node as a name, or as it is where it is short and wanted once."""
        if (self.list, u) in self.once and len(text) <= _LINE:
            return f"({text})" if _is_compound(text) else text
        return self._let(text)

    def _type(self, dtype: DType, lanes: int) -> str:
        one = _TYPES.get(dtype)
        if one is None:
            known = ", ".join(sorted(d.name for d in SUPPORTED))
            raise TypeError(f"webgpu has no {dtype}: it computes {known}; cast with x.astype(...), "
                            "or run on the interpreter (ANNEAL_DEVICE=interpreter)")
        return one if lanes == 1 else f"vec{lanes}<{one}>"

    def _value(self, u: UOp, lanes: int) -> str:
        kind = self._type(u.dtype, lanes)
        if u.op is ops.CONST:
            text = _literal(u.arg, u.dtype)
            return text if lanes == 1 else f"{kind}({text})"
        if u.op is ops.RANGE and kind_of(u) == "vector":
            return f"vec{lanes}<i32>({', '.join(map(str, range(lanes)))})"
        text = self.names[u]
        return text if width_of(u) == lanes else f"{kind}({_bare(text)})"

    def _all(self, instructions: Sequence[Instruction]) -> None:
        for i in instructions:
            self.list = id(instructions)
            if isinstance(i, Let):
                self.names[i.node] = (self._load(i.node, i.place) if i.place
                                      else self._kept(i.node, self._node(i.node)))
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
        if size is not None and size > _FEW and not self.keeps:
            bound = f"{size} + {self._unknown_zero('i32')}"
        self._out(f"for (var {name} = 0; {name} < {bound}; {name}++) {{  // {name_of(i.range)}")
        self.depth += 1
        outside, self.vectors = self.vectors, dict(self.vectors)
        self._all(i.body)
        for f in i.folds:
            self._fold(f)
        self.vectors = outside
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
        axis, x = self.local[i.range], _bare(self._value(i.partial, lanes))
        others = [a for a in range(3) if a != axis and self.sizes[a] > 1]
        row = [f"i32(local.{_LANES[a]}) * {n * math.prod(self.sizes[b] for b in others if b < a)}"
               for a in others]  # fmt: skip
        name = f"{how.name.lower()}_{n}_{self._type(dtype, 1)}{f'x{lanes}' if lanes > 1 else ''}"
        if name not in self.helpers:
            text = self._tree(name, n, how, dtype, lanes)  # which may need functions of its own
            self.helpers[name] = text
        return self._let(f"{name}({x}, i32(local.{_LANES[axis]}), {' + '.join(row) or '0'})")

    def _tree(self, name: str, n: int, how: ops.Op, dtype: DType, lanes: int) -> str:
        """A function of each invocation's value, its lane, and where its lanes' memory begins."""
        kind, array = self._type(dtype, lanes), f"{name}_lanes"
        self.shared.append(f"var<workgroup> {array}: array<{kind}, {math.prod(self.sizes)}>;")
        lines = [f"fn {name}(x: {kind}, lane: i32, first: i32) -> {kind} {{",
                 "  workgroupBarrier();", f"  {array}[first + lane] = x;",
                 "  workgroupBarrier();"]  # fmt: skip
        step = 1 << max((n - 1).bit_length() - 1, 0)
        while step >= 1 and n > 1:
            both = self._binary(how, dtype, lanes, f"{array}[first + lane]",
                                f"{array}[first + lane + {step}]")  # fmt: skip
            inside = f"lane < {step}" + (f" && lane + {step} < {n}" if 2 * step > n else "")
            lines += [f"  if ({inside}) {{ {array}[first + lane] = {both}; }}",
                      "  workgroupBarrier();"]  # fmt: skip
            step //= 2
        return "\n".join([*lines, f"  return {array}[first];", "}"])

    # -- operations ---------------------------------------------------------------------------

    def _call(self, name: str, dtype: DType, lanes: int, *src: str) -> str:
        """A call of one of the module's own functions, of a type."""
        kind = self._type(dtype, lanes)
        own = f"{name}_{self._type(dtype, 1)}{f'x{lanes}' if lanes > 1 else ''}"
        if own not in self.helpers:
            unsigned = self._type(dtypes.uint32, lanes)
            parameters = ", ".join(f"{a}: {kind}" for a, _ in zip("ab", src, strict=False))
            body = _FUNCTIONS[name].replace("T", kind).replace("U", unsigned)
            self.helpers[own] = f"fn {own}({parameters}) -> {kind} {{ {body} }}"
        return f"{own}({', '.join(map(_bare, src))})"

    def _node(self, u: UOp) -> str:
        lanes = width_of(u)
        src = [self._value(s, lanes) for s in u.src]
        of, kind = u.src[0].dtype, self._type(u.dtype, lanes)
        if u.op is ops.OPAQUE:
            return self._opaque(u, lanes, src[0])
        if u.op is ops.WHERE:
            return f"select({_bare(src[2])}, {_bare(src[1])}, {_bare(src[0])})"
        if u.op is ops.CAST:
            return self._cast(of, u.dtype, lanes, src[0])
        if u.op is ops.BITCAST:
            return f"bitcast<{kind}>({_bare(src[0])})"
        if u.op is ops.NOT:
            return f"!{src[0]}" if u.dtype is dtypes.bool_ else f"~{src[0]}"
        if u.op is ops.NEG:
            one = _splat("1u", lanes, "u32")
            return f"-{src[0]}" if u.dtype.kind != "u" else f"~{src[0]} + {one}"
        if u.op in _CALLS:
            return f"{_CALLS[u.op]}({_bare(src[0])})"
        if u.op in (ops.FLOORDIV, ops.MOD):
            return self._division(u, lanes, *src)
        if u.op in (ops.SHL, ops.SHR):
            return self._shift(u, lanes, *src)
        if u.op is ops.NE:
            return f"!({src[0]} == {src[1]})"
        if u.op is ops.LT and of is dtypes.bool_:
            return f"!{src[0]} & {src[1]}"
        return self._binary(u.op, of, lanes, *src)

    def _opaque(self, u: UOp, lanes: int, x: str) -> str:
        """The same bits, by an exclusive or with a zero that no driver knows."""
        kind, bits = self._type(u.dtype, lanes), self._type(dtypes.uint32, lanes)
        if u.dtype is not dtypes.float32:
            raise NotImplementedError(f"an OPAQUE {u.dtype}")
        zero = _splat(self._unknown_zero("u32"), lanes, "u32")
        return f"bitcast<{kind}>(bitcast<{bits}>({_bare(x)}) ^ {zero})"

    def _binary(self, op: ops.Op, dtype: DType, lanes: int, a: str, b: str) -> str:
        if dtype is dtypes.bool_ and op in _LOGICAL:
            return f"{a} {_LOGICAL[op]} {b}"
        if op in (ops.MAX, ops.MIN):
            name = "max" if op is ops.MAX else "min"
            if dtype.is_float:
                return self._call(name, dtype, lanes, a, b)
            return f"{name}({_bare(a)}, {_bare(b)})"
        if op in _INFIX:
            return f"{a} {_INFIX[op]} {b}"
        raise NotImplementedError(f"WGSL has no {op} of {dtype}")

    def _division(self, u: UOp, lanes: int, a: str, b: str) -> str:
        if u.dtype.is_float:
            return self._remainder(u, lanes, a, b)
        if lo(u.src[0]) < 0 or lo(u.src[1]) <= 0:
            raise NotImplementedError(f"WGSL has no floored division: {u}")
        return f"{a} {'/' if u.op is ops.FLOORDIV else '%'} {b}"

    def _remainder(self, u: UOp, lanes: int, a: str, b: str) -> str:
        """Floored, lane by lane."""
        self.helpers["fmod"] = _FMOD
        one, kind = self._type(u.dtype, 1), self._type(u.dtype, lanes)
        if lanes == 1:
            return f"{one}(fmod(f32({a}), f32({b})))"
        a, b = self._let(a), self._let(b)
        parts = ", ".join(f"{one}(fmod(f32({a}.{n}), f32({b}.{n})))" for n in _LANES[:lanes])
        return f"{kind}({parts})"

    def _shift(self, u: UOp, lanes: int, a: str, b: str) -> str:
        by = u.src[1]
        if by.op is ops.CONST and 0 <= int(by.arg) < 32:
            sign, count = "<<" if u.op is ops.SHL else ">>", _splat(f"{by.arg}u", lanes, "u32")
            return f"{a} {sign} {count}"
        signed = u.op is ops.SHR and u.dtype.kind == "i"
        name = "shl" if u.op is ops.SHL else "sar" if signed else "shr"
        return self._call(name, u.dtype, lanes, a, b)

    def _cast(self, old: DType, new: DType, lanes: int, x: str) -> str:
        kind = self._type(new, lanes)
        if new is dtypes.bool_:
            return f"!({x} == {self._type(old, lanes)}(0))"
        if old.is_float and new.is_int:
            wide = self._type(dtypes.float32, lanes)
            own = f"to_{self._type(new, 1)}{f'x{lanes}' if lanes > 1 else ''}"
            top, most = (("2147483648.0f", "2147483647") if new.kind == "i" else
                         ("4294967296.0f", "4294967295u"))  # fmt: skip
            self.helpers[own] = (
                f"fn {own}(x: {wide}) -> {kind} {{ return select({kind}(0), select({kind}(x), "
                f"{kind}({most}), x >= {wide}({top})), x == x); }}")
            return f"{own}({_bare(x) if old is dtypes.float32 else f'{wide}({_bare(x)})'})"
        return x if self._type(old, lanes) == kind else f"{kind}({_bare(x)})"


# What WGSL leaves open, or drivers get wrong: of T, and U its unsigned integers. Shifts count in T.
_FUNCTIONS = {
    "max": "return select(select(b, a, a > b), a, !(a == a));",
    "min": "return select(select(b, a, a < b), a, !(a == a));",
    "shl": "return select(a << min(U(b), U(31u)), T(0), U(b) > U(31u));",
    "shr": "return select(a >> min(U(b), U(31u)), T(0), U(b) > U(31u));",
    "sar": "return a >> min(U(b), U(31u));",
}  # fmt: skip


def _is_compound(text: str) -> bool:
    """Whether operators stand outside of all parentheses, or a sign before it."""
    depth = 0
    for c in text:
        depth += (c in "([") - (c in ")]")
        if c == " " and depth == 0:
            return True
    return text[0] in "-~!"


def _grouped(text: str) -> str:
    return f"({text})" if _is_compound(text) else text


def _bare(text: str) -> str:
    """Without the parentheses around all of it."""
    if not text.startswith("("):
        return text
    depth = 0
    for n, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if depth == 0:
            return text[1:-1] if n == len(text) - 1 else text
    return text


def _used_once(bodies: Sequence[Sequence[Instruction]]) -> frozenset[tuple[int, UOp]]:
    """The nodes whose value one instruction wants, of the same list; with the list's id."""
    uses: dict[tuple[int, UOp], int] = {}
    todo: list[tuple[Sequence[Instruction], tuple[Fold, ...]]] = [(b, ()) for b in bodies]
    elsewhere: set[UOp] = set()  # wanted outside of the list that computes them
    for body, folds in todo:
        wanted: list[UOp | None] = [v for f in folds for v in f.values]
        for i in body:
            if isinstance(i, Let):
                uses.setdefault((id(body), i.node), 0)
                wanted += i.node.src if i.place is None else i.node.src[2:]
                wanted += [i.place.base] * width_of(i.node) if i.place else []
            elif isinstance(i, Put):
                wanted += [i.value, i.gate, i.place.base, i.place.base]
            elif isinstance(i, Across):
                wanted.append(i.partial)
            elif isinstance(i, Loop):
                todo.append((i.body, i.folds))
                wanted.append(i.range.src[0])
        for u in wanted:
            if u is not None and (id(body), u) in uses:
                uses[id(body), u] += 1
            elif u is not None:
                elsewhere.add(u)
    return frozenset((n, u) for (n, u), count in uses.items() if count == 1 and u not in elsewhere)


def _splat(text: str, lanes: int, kind: str) -> str:
    return text if lanes == 1 else f"vec{lanes}<{kind}>({text})"


def _literal(value: Scalar, dtype: DType) -> str:
    if dtype.kind == "b":
        return "true" if value else "false"
    if dtype.kind == "u":
        return f"{int(value)}u"
    if dtype.is_int:
        if value == -(1 << 31):
            return "(-2147483647 - 1)"
        return str(int(value)) if value >= 0 else f"({int(value)})"
    value = float(value)
    if math.isnan(value) or math.isinf(value) or (value == 0 and math.copysign(1, value) < 0):
        (bits,) = struct.unpack("I", struct.pack("f", value))
        text = f"bitcast<f32>(0x{bits:08x}u)"
        return text if dtype is dtypes.float32 else f"f16({text})"
    return f"{value!r}{'h' if dtype is dtypes.float16 else 'f'}"


def _begins_a_vector(place: Place) -> bool:
    """Whether the base of a place is a multiple of four, so that its offset alone says which
    element of a vector it is."""
    if place.base is None:
        return True
    base = terms(place.base)
    return width_of(place.base) == 1 and all(c % _WIDE == 0 for c in base.values())


def _grid(kernel: Kernel) -> list[UOp]:
    return [r for r in kernel.ranges if kind_of(r) == "grid"]


# The remainder of C's fmod, moved by the divisor where the signs differ: in integers, so no driver
# rearranges it.
_FMOD = """fn fmod(x: f32, y: f32) -> f32 {
  let ax = bitcast<u32>(x) & 0x7fffffffu;
  let ay = bitcast<u32>(y) & 0x7fffffffu;
  if (ax >= 0x7f800000u || ay > 0x7f800000u || ay == 0u) { return bitcast<f32>(0x7fc00000u); }
  let sign = bitcast<u32>(y) & 0x80000000u;
  let apart = (bitcast<u32>(x) & 0x80000000u) != sign;
  var r = ax;
  if (ax >= ay) {
    let ex = max(ax >> 23u, 1u);
    let ey = max(ay >> 23u, 1u);
    let m = (ay & 0x007fffffu) | select(0u, 0x00800000u, ay >= 0x00800000u);
    r = ((ax & 0x007fffffu) | select(0u, 0x00800000u, ax >= 0x00800000u)) % m;
    for (var n = ex - ey; n > 0u; n = n - min(n, 8u)) { r = (r << min(n, 8u)) % m; }
    let up = min(countLeadingZeros(r) - 8u, ey - 1u);
    let normal = ((ey - up) << 23u) | ((r << up) & 0x007fffffu);
    r = select(r << up, normal, ((r << up) & 0x00800000u) != 0u);
    if (r == 0u) { return bitcast<f32>(sign); }
  }
  if (r == 0u) { return bitcast<f32>(sign); }
  let size = bitcast<f32>(r);
  if (!apart) { return bitcast<f32>(r | sign); }
  return select(-size + abs(y), size - abs(y), sign != 0u);
}"""
