"""LLVM IR of one kernel, for the CPU.

In: a kernel whose ranges are THREAD, LOOP, UNROLL and VECTOR. Out: the text of a function

    void @kernel(ptr %arguments, i64 %chunk, ptr %scratch)

of one count of the THREAD ranges. `arguments` are 8 bytes each: the addresses of the buffers by
position, then the values of the variables by name. `scratch` is memory of this thread's own, for
STAGEs. The text is a function of the kernel alone; it is vectorised as it stands and needs no
optimizer, only code generation (https://llvm.org/docs/LangRef.html).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from anneal.kernel.ir import Kernel, count_of, kind_of, size_of
from anneal.kernel.linearize import (
    Across,
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
from anneal.uop import dtypes, ops
from anneal.uop.dtypes import DType
from anneal.uop.symbolic import lo, simplify
from anneal.uop.uop import Scalar, UOp, const

_TYPES = {dtypes.bool_: "i1", dtypes.int8: "i8", dtypes.uint8: "i8", dtypes.int16: "i16",
          dtypes.uint16: "i16", dtypes.int32: "i32", dtypes.uint32: "i32", dtypes.int64: "i64",
          dtypes.uint64: "i64", dtypes.index: "i64", dtypes.float16: "half",
          dtypes.float32: "float", dtypes.float64: "double"}  # fmt: skip
_SUFFIX = {"i1": "i1", "i8": "i8", "i16": "i16", "i32": "i32", "i64": "i64", "half": "f16",
           "float": "f32", "double": "f64"}  # fmt: skip
_BITS = {"half": ("<e", "<H"), "float": ("<d", "<Q"), "double": ("<d", "<Q")}
# Bytes of a cache line, and of the widest register: what a STAGE's memory is aligned to.
_LINE = 64


@dataclass(frozen=True, slots=True)
class Text:
    """A kernel's IR; `params`: positions of the buffers whose addresses it is given, in order;
    `chunks`: how many counts its THREAD ranges have, a dim; `scratch`: bytes of a thread."""

    source: str
    params: tuple[int, ...]
    chunks: UOp
    scratch: int


def render(kernel: Kernel) -> Text:
    """The IR of a kernel."""
    return _Renderer(kernel).text()


class _Renderer:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.lines: list[str] = []
        self.entry: list[str] = []
        self.names: dict[UOp, str] = {}
        self.splats: dict[tuple[str, str], str] = {}
        self.declared: dict[str, None] = {}
        self.count = 0
        self.scratch = 0
        self.block = "entry"

    def text(self) -> Text:
        params = self.kernel.params
        for n, u in enumerate((*params, *self.kernel.variables)):
            what = "ptr" if u in params else "i64"
            slot, name = f"%slot{n}", f"%a{u.arg}" if u in params else f"%v{n}"
            self.entry.append(f"{slot} = getelementptr i64, ptr %arguments, i64 {n}")
            self.entry.append(f"{name} = load {what}, ptr {slot}")
            self.names[u] = name
        chunks = self._chunk()
        self._all(linearize(self.kernel, counted=True))
        source = "\n".join([
            "define void @kernel(ptr noalias %arguments, i64 %chunk, ptr noalias %scratch) {",
            "entry:", *[f"  {line}" for line in self.entry], "  br label %body", "body:",
            *self.lines, "  ret void", "}", *self.declared, "",
        ])  # fmt: skip
        return Text(source, tuple([u.arg for u in params]), chunks, self.scratch)

    def _chunk(self) -> UOp:
        """Counts the THREAD ranges by the number of the chunk; how many there are."""
        threads = [r for r in self.kernel.ranges if kind_of(r) == "thread"]
        chunks, rest = const(1, dtypes.index), "%chunk"
        for r in reversed(threads):
            (chunks,) = simplify([r.src[0] * chunks])
            if r is threads[0]:
                self.names[r] = rest
                break
            size = self._size(r)
            self.names[r] = self._let(f"urem i64 {rest}, {size}")
            rest = self._let(f"udiv i64 {rest}, {size}")
        return chunks

    # -- text ---------------------------------------------------------------------------------

    def _out(self, line: str) -> None:
        self.lines.append(f"  {line}")

    def _label(self, name: str) -> None:
        self.lines.append(f"{name}:")
        self.block = name
        self.splats.clear()  # what a block computed need not reach the next

    def _fresh(self, prefix: str = "t") -> str:
        self.count += 1
        return f"%{prefix}{self.count}"

    def _let(self, expression: str) -> str:
        name = self._fresh()
        self._out(f"{name} = {expression}")
        return name

    def _type(self, dtype: DType, lanes: int) -> str:
        one = _TYPES.get(dtype)
        if one is None:
            raise TypeError(f"the CPU computes no {dtype}")
        return one if lanes == 1 else f"<{lanes} x {one}>"

    def _literal(self, value: Scalar, dtype: DType) -> str:
        kind = _TYPES[dtype]
        if kind not in _BITS:
            return str(int(value))
        code, bits = _BITS[kind]
        (number,) = struct.unpack(bits, struct.pack(code, float(value)))
        return f"0xH{number:04X}" if kind == "half" else f"0x{number:016X}"

    def _constant(self, value: Scalar, dtype: DType, lanes: int) -> str:
        text = self._literal(value, dtype)
        if lanes == 1:
            return text
        return "<" + ", ".join([f"{_TYPES[dtype]} {text}"] * lanes) + ">"

    def _call(self, name: str, result: str, *args: tuple[str, str]) -> str:
        self.declared[f"declare {result} @{name}({', '.join(t for t, _ in args)})"] = None
        return f"call {result} @{name}({', '.join(f'{t} {x}' for t, x in args)})"

    def _intrinsic(self, name: str, dtype: DType, lanes: int, *args: tuple[str, str]) -> str:
        kind = _SUFFIX[_TYPES[dtype]]
        suffix = kind if lanes == 1 else f"v{lanes}{kind}"
        return self._call(f"llvm.{name}.{suffix}", self._type(dtype, lanes), *args)

    # -- values -------------------------------------------------------------------------------

    def _value(self, u: UOp, lanes: int) -> str:
        """The name of a value with as many lanes."""
        if u.op is ops.CONST:
            return self._constant(u.arg, u.dtype, lanes)
        if u.op is ops.RANGE and kind_of(u) == "vector":
            return "<" + ", ".join(f"i64 {n}" for n in range(lanes)) + ">"
        name = self.names[u]
        return name if width_of(u) == lanes else self._splat(name, u.dtype, lanes)

    def _splat(self, name: str, dtype: DType, lanes: int) -> str:
        kind = self._type(dtype, lanes)
        known = self.splats.get((name, kind))
        if known is None:
            first = self._let(f"insertelement {kind} poison, {_TYPES[dtype]} {name}, i32 0")
            known = self._let(f"shufflevector {kind} {first}, {kind} poison, "
                              f"<{lanes} x i32> zeroinitializer")  # fmt: skip
            self.splats[name, kind] = known
        return known

    def _all(self, instructions: Sequence[Instruction]) -> None:
        for i in instructions:
            if isinstance(i, Let):
                self.names[i.node] = self._load(i.node, i.place) if i.place else self._node(i.node)
            elif isinstance(i, Put):
                self._put(i)
            elif isinstance(i, Loop):
                self._loop(i, {})
            elif isinstance(i, Across):
                self.names[i.node] = self._across(i)
            elif isinstance(i, Memory):
                self._memory(i)

    def _memory(self, i: Memory) -> None:
        if i.node in self.names:
            return
        name = self._fresh("s")
        self.entry.append(f"{name} = getelementptr i8, ptr %scratch, i64 {self.scratch}")
        nbytes = int(size_of(i.node).arg) * i.node.dtype.itemsize
        self.scratch += -(-nbytes // _LINE) * _LINE + _LINE
        self.names[i.node] = name

    # -- memory -------------------------------------------------------------------------------

    def _stored(self, dtype: DType) -> str:
        return "i8" if dtype is dtypes.bool_ else _TYPES[dtype]

    def _address(self, place: Place) -> str:
        kind, pointer = self._stored(place.memory.dtype), self.names[place.memory]
        if place.base is not None:
            pointer = self._let(f"getelementptr {kind}, ptr {pointer}, i64 "
                                f"{self._value(place.base, 1)}")  # fmt: skip
        if place.offset:
            pointer = self._let(f"getelementptr {kind}, ptr {pointer}, i64 {place.offset}")
        return pointer

    def _addresses(self, place: Place, lanes: int) -> list[str]:
        """Each lane's address."""
        kind = self._stored(place.memory.dtype)
        if place.base is None or width_of(place.base) == 1:
            first = self._address(place)
            return [self._let(f"getelementptr {kind}, ptr {first}, i64 {n * place.step}")
                    for n in range(lanes)]  # fmt: skip
        base, found = self._value(place.base, lanes), []
        for n in range(lanes):
            at = self._let(f"extractelement <{lanes} x i64> {base}, i32 {n}")
            pointer = self._let(f"getelementptr {kind}, ptr {self.names[place.memory]}, i64 {at}")
            offset = place.offset + n * place.step
            found.append(self._let(f"getelementptr {kind}, ptr {pointer}, i64 {offset}"))
        return found

    def _load(self, u: UOp, place: Place) -> str:
        lanes, gate = width_of(u), u.src[2] if len(u.src) > 2 else None
        spread = place.step != 0 or place.base is not None and width_of(place.base) > 1
        if not spread and (gate is None or width_of(gate) == 1):
            return self._load_one(u, self._address(place), gate)
        contiguous = place.step == 1 and (place.base is None or width_of(place.base) == 1)
        if not spread:
            raw = self._splat(self._load_raw(u, self._address(place), gate, -1), u.dtype, lanes)
            return self._select(u, raw, lanes)
        if contiguous:
            return self._load_vector(u, self._address(place), lanes)
        return self._load_lanes(u, self._addresses(place, lanes), lanes)

    def _from_memory(self, name: str, dtype: DType, lanes: int) -> str:
        if dtype is not dtypes.bool_:
            return name
        kind = "i8" if lanes == 1 else f"<{lanes} x i8>"
        zero = "0" if lanes == 1 else "zeroinitializer"
        return self._let(f"icmp ne {kind} {name}, {zero}")

    def _load_one(self, u: UOp, pointer: str, gate: UOp | None) -> str:
        if gate is None:
            raw = self._let(f"load {self._stored(u.dtype)}, ptr {pointer}")
            return self._from_memory(raw, u.dtype, 1)
        on = self._value(gate, 1)
        return self._select(u, self._guarded(u, pointer, on), 1)

    def _guarded(self, u: UOp, pointer: str, on: str) -> str:
        """A load that reads scratch memory, which is always there, where `on` is false."""
        safe = self._let(f"select i1 {on}, ptr {pointer}, ptr %scratch")
        raw = self._let(f"load {self._stored(u.dtype)}, ptr {safe}")
        return self._from_memory(raw, u.dtype, 1)

    def _load_raw(self, u: UOp, pointer: str, gate: UOp | None, lane: int) -> str:
        if gate is None:
            raw = self._let(f"load {self._stored(u.dtype)}, ptr {pointer}")
            return self._from_memory(raw, u.dtype, 1)
        on = self._value(gate, width_of(gate))
        if width_of(gate) > 1:
            on = self._any(on, width_of(gate)) if lane < 0 else self._let(
                f"extractelement <{width_of(gate)} x i1> {on}, i32 {lane}")  # fmt: skip
        return self._guarded(u, pointer, on)

    def _any(self, name: str, lanes: int) -> str:
        return self._let(self._call(f"llvm.vector.reduce.or.v{lanes}i1", "i1",
                                    (f"<{lanes} x i1>", name)))  # fmt: skip

    def _select(self, u: UOp, raw: str, lanes: int) -> str:
        kind = self._type(u.dtype, lanes)
        on = self._value(u.src[2], lanes)
        other = self._value(u.src[3], lanes)
        mask = "i1" if lanes == 1 else f"<{lanes} x i1>"
        return self._let(f"select {mask} {on}, {kind} {raw}, {kind} {other}")

    def _load_vector(self, u: UOp, pointer: str, lanes: int) -> str:
        stored, align = self._stored(u.dtype), u.dtype.itemsize
        kind = f"<{lanes} x {stored}>"
        if len(u.src) == 2:
            raw = self._let(f"load {kind}, ptr {pointer}, align {align}")
            return self._from_memory(raw, u.dtype, lanes)
        name = f"llvm.masked.load.v{lanes}{_SUFFIX[stored]}.p0"
        mask = f"<{lanes} x i1>"
        self.declared[f"declare {kind} @{name}(ptr, i32, {mask}, {kind})"] = None
        raw = self._let(f"call {kind} @{name}(ptr {pointer}, i32 {align}, {mask} "
                        f"{self._value(u.src[2], lanes)}, {kind} zeroinitializer)")  # fmt: skip
        raw = self._from_memory(raw, u.dtype, lanes)
        other = u.src[3]
        if other.op is ops.CONST and other.arg == 0 and str(other.arg) != "-0.0":
            return raw
        return self._select(u, raw, lanes)

    def _load_lanes(self, u: UOp, pointers: Sequence[str], lanes: int) -> str:
        kind = self._type(u.dtype, lanes)
        gate = u.src[2] if len(u.src) > 2 else None
        out = "poison"
        for n, pointer in enumerate(pointers):
            one = self._load_raw(u, pointer, gate, n)
            out = self._let(f"insertelement {kind} {out}, {_TYPES[u.dtype]} {one}, i32 {n}")
        return out if gate is None else self._select(u, out, lanes)

    def _to_memory(self, name: str, dtype: DType, lanes: int) -> str:
        if dtype is not dtypes.bool_:
            return name
        wide = self._type(dtype, lanes)
        return self._let(f"zext {wide} {name} to {wide.replace('i1', 'i8')}")

    def _put(self, i: Put) -> None:
        place, dtype = i.place, i.place.memory.dtype
        scattered = place.base is not None and width_of(place.base) > 1
        lanes = max((count_of(r) or 1 for r in i.by if kind_of(r) == "vector"), default=1)
        value = self._to_memory(self._value(i.value, lanes), dtype, lanes)
        if lanes == 1:
            return self._put_one(value, self._address(place), dtype, i.gate, None)
        if place.step == 1 and not scattered:
            return self._put_vector(value, self._address(place), dtype, lanes, i.gate)
        stored = self._stored(dtype)
        for n, pointer in enumerate(self._addresses(place, lanes)):
            one = self._let(f"extractelement <{lanes} x {stored}> {value}, i32 {n}")
            self._put_one(one, pointer, dtype, i.gate, n)
        return None

    def _put_one(self, value: str, pointer: str, dtype: DType, gate: UOp | None,
                 lane: int | None) -> None:  # fmt: skip
        line = f"store {self._stored(dtype)} {value}, ptr {pointer}"
        if gate is None:
            return self._out(line)
        on = self._value(gate, width_of(gate))
        if width_of(gate) > 1:
            on = self._let(f"extractelement <{width_of(gate)} x i1> {on}, i32 {lane or 0}")
        name = self._fresh("g")[1:]
        self._out(f"br i1 {on}, label %{name}y, label %{name}n")
        self._label(f"{name}y")
        self._out(line)
        self._out(f"br label %{name}n")
        return self._label(f"{name}n")

    def _put_vector(self, value: str, pointer: str, dtype: DType, lanes: int,
                    gate: UOp | None) -> None:  # fmt: skip
        stored, align = self._stored(dtype), dtype.itemsize
        kind, mask = f"<{lanes} x {stored}>", f"<{lanes} x i1>"
        if gate is None:
            return self._out(f"store {kind} {value}, ptr {pointer}, align {align}")
        name = f"llvm.masked.store.v{lanes}{_SUFFIX[stored]}.p0"
        self.declared[f"declare void @{name}({kind}, ptr, i32, {mask})"] = None
        return self._out(f"call void @{name}({kind} {value}, ptr {pointer}, i32 {align}, {mask} "
                         f"{self._value(gate, lanes)})")  # fmt: skip

    # -- loops --------------------------------------------------------------------------------

    def _loop(self, i: Loop, carried: dict[UOp, str]) -> dict[UOp, str]:
        """Writes a loop; the names of its reductions' values after it."""
        name = self._fresh("L")[1:]
        counter, size = f"%{name}", self._size(i.range)
        start = {m: carried.get(m, self._start(m)) for m in i.reductions}
        may_be_none = i.count is not None or lo(i.range.src[0]) < 1
        if i.count is not None:
            size = self._let(self._intrinsic("smin", dtypes.index, 1, ("i64", size),
                                             ("i64", self._value(i.count, 1))))  # fmt: skip
        if may_be_none:
            self._out(f"br label %{name}c")
            self._label(f"{name}c")
            some = self._let(f"icmp sgt i64 {size}, 0")
            self._out(f"br i1 {some}, label %{name}p, label %{name}e")
        else:
            self._out(f"br label %{name}p")
        entered = self.block
        self._label(f"{name}p")
        self._out(f"br label %{name}b")
        self._label(f"{name}b")
        self.names[i.range] = counter
        head = len(self.lines)
        phis = {m: self._fresh("acc") for m in i.reductions}
        ended = self._body(i, phis)
        latch = f"{name}x"
        self._out(f"br label %{latch}")
        self._label(latch)
        self._out(f"{counter}n = add nuw nsw i64 {counter}, 1")
        self._out(f"{counter}d = icmp eq i64 {counter}n, {size}")
        self._out(f"br i1 {counter}d, label %{name}e, label %{name}b")
        self.lines[head:head] = [
            f"  {counter} = phi i64 [0, %{name}p], [{counter}n, %{latch}]",
            *[f"  {phis[m]} = phi {self._type(m.dtype, self._partial(m))} "
              f"[{start[m]}, %{name}p], [{ended[m]}, %{latch}]" for m in i.reductions],
        ]  # fmt: skip
        self._label(f"{name}e")
        if may_be_none:
            for m in i.reductions:
                kind = self._type(m.dtype, self._partial(m))
                ended[m] = self._let(f"phi {kind} [{start[m]}, %{entered}], "
                                     f"[{ended[m]}, %{latch}]")  # fmt: skip
        self.names.update({m: ended[m] for m in i.reductions if i.first})
        return ended

    def _body(self, i: Loop, phis: dict[UOp, str]) -> dict[UOp, str]:
        inner = i.body[-1] if i.body else None
        if isinstance(inner, Loop) and inner.reductions and not inner.first:
            self._all(i.body[:-1])
            return self._loop(inner, phis)
        self._all(i.body)
        return {f.node: self._folded(f, phis[f.node]) for f in i.folds}

    def _size(self, r: UOp) -> str:
        size = count_of(r)
        return self._value(r.src[0], 1) if size is None else str(size)

    def _partial(self, m: UOp) -> int:
        """The lanes of a reduction's accumulator."""
        return width_of(m)

    def _start(self, m: UOp) -> str:
        return self._constant(identity_of(m), m.dtype, self._partial(m))

    def _folded(self, f: Fold, acc: str) -> str:
        m, lanes = f.node, self._partial(f.node)
        values = [self._value(v, lanes) for v in f.values]
        kind = self._type(m.dtype, lanes)
        if len(values) == 2:
            return self._let(self._intrinsic("fma", m.dtype, lanes, (kind, values[0]),
                                             (kind, values[1]), (kind, acc)))  # fmt: skip
        return self._binary(_FOLDS[m.arg[0]], m.dtype, lanes, acc, values[0])

    def _across(self, i: Across) -> str:
        """The lanes of a vector combined, in a tree."""
        lanes = count_of(i.range) or 1
        name = self._value(i.partial, lanes)
        dtype, how = i.node.dtype, _FOLDS[i.node.arg[0]]
        while lanes > 1:
            kind, half = self._type(dtype, lanes), lanes // 2
            low, high = (", ".join(f"i32 {n}" for n in range(start, start + half))
                         for start in (0, half))  # fmt: skip
            parts = [self._let(f"shufflevector {kind} {name}, {kind} poison, "
                               f"<{half} x i32> <{at}>") for at in (low, high)]  # fmt: skip
            if half == 1:
                parts = [self._let(f"extractelement <1 x {_TYPES[dtype]}> {p}, i32 0")
                         for p in parts]  # fmt: skip
            name = self._binary(how, dtype, half, *parts)
            lanes = half
        return name

    # -- operations ---------------------------------------------------------------------------

    def _node(self, u: UOp) -> str:
        lanes = width_of(u)
        if lanes > 1 and _is_limit(u):
            return self._limit(u, lanes)
        src = [self._value(s, lanes) for s in u.src]
        kind, of = self._type(u.dtype, lanes), u.src[0].dtype
        if u.op is ops.OPAQUE:
            return src[0]
        if u.op is ops.WHERE:
            mask = "i1" if lanes == 1 else f"<{lanes} x i1>"
            return self._let(f"select {mask} {src[0]}, {kind} {src[1]}, {kind} {src[2]}")
        if u.op is ops.CAST:
            return self._cast(of, u.dtype, lanes, src[0])
        if u.op is ops.BITCAST:
            return self._let(f"bitcast {self._type(of, lanes)} {src[0]} to {kind}")
        if u.op in _UNARY_CALLS:
            return self._let(self._intrinsic(_UNARY_CALLS[u.op], u.dtype, lanes, (kind, src[0])))
        if u.op is ops.ABS:
            if u.dtype.kind == "u":
                return src[0]
            more = [] if u.dtype.is_float else [("i1", "false")]
            name = "fabs" if u.dtype.is_float else "abs"
            return self._let(self._intrinsic(name, u.dtype, lanes, (kind, src[0]), *more))
        if u.op is ops.NEG:
            zero = self._constant(0, u.dtype, lanes)
            return self._let(f"fneg {kind} {src[0]}" if u.dtype.is_float
                             else f"sub {kind} {zero}, {src[0]}")  # fmt: skip
        if u.op is ops.NOT:
            ones = self._constant(1 if u.dtype is dtypes.bool_ else -1, u.dtype, lanes)
            return self._let(f"xor {kind} {src[0]}, {ones}")
        if u.op in ops.COMPARISONS:
            return self._let(f"{_comparison(u.op, of)} {self._type(of, lanes)} {src[0]}, {src[1]}")
        if u.op in (ops.FLOORDIV, ops.MOD):
            return self._division(u, lanes, *src)
        if u.op in (ops.SHL, ops.SHR):
            return self._shift(u, lanes, *src)
        return self._binary(u.op, u.dtype, lanes, *src)

    def _limit(self, u: UOp, lanes: int) -> str:
        """`step * lane < rest`: in 32 bits, for which any rest beyond a vector's reach is one."""
        left = u.src[0]
        step = 1 if left.op is ops.RANGE else int(left.src[1].arg)
        low, high = min(0, step * lanes) - 1, max(0, step * lanes) + 1
        rest = self._value(u.src[1], 1)
        for name, bound in (("smin", high), ("smax", low)):
            rest = self._let(self._intrinsic(name, dtypes.index, 1, ("i64", rest),
                                             ("i64", str(bound))))  # fmt: skip
        small = self._let(f"trunc i64 {rest} to i32")
        wide = self._splat(small, dtypes.int32, lanes)
        counts = ", ".join(f"i32 {n * step}" for n in range(lanes))
        return self._let(f"icmp slt <{lanes} x i32> <{counts}>, {wide}")

    def _binary(self, op: ops.Op, dtype: DType, lanes: int, a: str, b: str) -> str:
        kind = self._type(dtype, lanes)
        if dtype.is_float and op in (ops.MAX, ops.MIN):
            mask = "i1" if lanes == 1 else f"<{lanes} x i1>"
            sign = "ogt" if op is ops.MAX else "olt"
            first = self._let(f"fcmp {sign} {kind} {a}, {b}")
            chosen = self._let(f"select {mask} {first}, {kind} {a}, {kind} {b}")
            nan = self._let(f"fcmp uno {kind} {a}, {a}")
            return self._let(f"select {mask} {nan}, {kind} {a}, {kind} {chosen}")
        if op in (ops.MAX, ops.MIN) and dtype is not dtypes.bool_:
            sign = "s" if dtype.kind == "i" else "u"
            name = f"{sign}{'max' if op is ops.MAX else 'min'}"
            return self._let(self._intrinsic(name, dtype, lanes, (kind, a), (kind, b)))
        if dtype is dtypes.bool_:
            word = {ops.ADD: "or", ops.MUL: "and", ops.MAX: "or", ops.MIN: "and"}.get(op)
        else:
            word = _FLOAT.get(op) if dtype.is_float else _INT.get(op)
        word = word or _BITWISE.get(op)
        if word is None:
            raise NotImplementedError(f"LLVM IR has no {op} of {dtype}")
        return self._let(f"{word} {kind} {a}, {b}")

    def _division(self, u: UOp, lanes: int, a: str, b: str) -> str:
        if u.dtype.is_float:
            return self._remainder(u, lanes, a, b)
        if lo(u.src[0]) < 0 or lo(u.src[1]) <= 0:
            raise NotImplementedError(f"LLVM IR has no floored division: {u}")
        word = "udiv" if u.op is ops.FLOORDIV else "urem"
        return self._let(f"{word} {self._type(u.dtype, lanes)} {a}, {b}")

    def _remainder(self, u: UOp, lanes: int, a: str, b: str) -> str:
        """Of floats, with the sign of the divisor, from C's exact fmod."""
        kind, mask = self._type(u.dtype, lanes), "i1" if lanes == 1 else f"<{lanes} x i1>"
        zero = self._constant(0, u.dtype, lanes)
        r = self._let(f"frem {kind} {a}, {b}")
        some = self._let(f"fcmp une {kind} {r}, {zero}")
        signs = [self._let(f"fcmp olt {kind} {x}, {zero}") for x in (r, b)]
        apart = self._let(f"xor {mask} {signs[0]}, {signs[1]}")
        on = self._let(f"and {mask} {some}, {apart}")
        more = self._let(f"fadd {kind} {r}, {b}")
        nothing = self._let(self._intrinsic("copysign", u.dtype, lanes, (kind, zero), (kind, b)))
        moved = self._let(f"select {mask} {on}, {kind} {more}, {kind} {r}")
        return self._let(f"select {mask} {some}, {kind} {moved}, {kind} {nothing}")

    def _shift(self, u: UOp, lanes: int, a: str, b: str) -> str:
        """By any count: what is shifted out is gone, and the sign stays."""
        kind, bits = self._type(u.dtype, lanes), u.dtype.bits
        mask = "i1" if lanes == 1 else f"<{lanes} x i1>"
        over = self._let(f"icmp uge {kind} {b}, {self._constant(bits, u.dtype, lanes)}")
        signed = u.op is ops.SHR and u.dtype.kind == "i"
        most = self._constant(bits - 1 if signed else 0, u.dtype, lanes)
        count = self._let(f"select {mask} {over}, {kind} {most}, {kind} {b}")
        word = "shl" if u.op is ops.SHL else "ashr" if signed else "lshr"
        out = self._let(f"{word} {kind} {a}, {count}")
        if signed:
            return out
        zero = self._constant(0, u.dtype, lanes)
        return self._let(f"select {mask} {over}, {kind} {zero}, {kind} {out}")

    def _cast(self, old: DType, new: DType, lanes: int, x: str) -> str:
        source, target = self._type(old, lanes), self._type(new, lanes)
        if source == target:
            return x
        if new is dtypes.bool_:
            zero = self._constant(0, old, lanes)
            return self._let(f"{_comparison(ops.NE, old)} {source} {x}, {zero}")
        if old.is_float and new.is_float:
            word = "fpext" if old.bits < new.bits else "fptrunc"
        elif old.is_float:
            sign = "s" if new.kind == "i" else "u"
            one = f"{_SUFFIX[_TYPES[new]]}", f"{_SUFFIX[_TYPES[old]]}"
            names = [k if lanes == 1 else f"v{lanes}{k}" for k in one]
            return self._let(self._call(f"llvm.fpto{sign}i.sat.{'.'.join(names)}", target,
                                        (source, x)))  # fmt: skip
        elif new.is_float:
            word = "sitofp" if old.kind == "i" else "uitofp"
        elif old.bits < new.bits or old is dtypes.bool_:
            word = "sext" if old.kind == "i" else "zext"
        else:
            word = "trunc"
        return self._let(f"{word} {source} {x} to {target}")


def _is_limit(u: UOp) -> bool:
    """Whether it is `step * lane < rest`, one rest for all lanes."""
    if u.op is not ops.LT or u.src[0].dtype is not dtypes.index or width_of(u.src[1]) > 1:
        return False
    left = u.src[0]
    if left.op is ops.MUL and left.src[1].op is ops.CONST:
        left = left.src[0]
    return left.op is ops.RANGE and kind_of(left) == "vector"


def _comparison(op: ops.Op, dtype: DType) -> str:
    if dtype.is_float:
        return {ops.LT: "fcmp olt", ops.EQ: "fcmp oeq", ops.NE: "fcmp une"}[op]
    less = "icmp slt" if dtype.kind == "i" else "icmp ult"
    return {ops.LT: less, ops.EQ: "icmp eq", ops.NE: "icmp ne"}[op]


_FOLDS = {"add": ops.ADD, "mul": ops.MUL, "max": ops.MAX, "min": ops.MIN}
_UNARY_CALLS = {ops.SQRT: "sqrt", ops.FLOOR: "floor", ops.ROUND: "roundeven"}
_FLOAT = {ops.ADD: "fadd", ops.SUB: "fsub", ops.MUL: "fmul", ops.DIV: "fdiv"}
_INT = {ops.ADD: "add", ops.SUB: "sub", ops.MUL: "mul"}
_BITWISE = {ops.AND: "and", ops.OR: "or", ops.XOR: "xor"}
