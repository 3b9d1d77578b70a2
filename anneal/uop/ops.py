"""The closed set of operations. One line says what each means; `uop/spec.py` says what is legal,
`interpret.py` what it computes.

Tensor level: whole arrays, shapes on every node. Kernel level: one scalar at a time, inside loops.
Elementwise operations and CONST, VAR, CAST, WHERE are the same on both levels.
"""

from __future__ import annotations


class Op:
    """An operation: a name, how many sources it has (-1: any), and its meaning in a line."""

    __slots__ = ("arity", "doc", "name")

    def __init__(self, name: str, arity: int, doc: str) -> None:
        self.name, self.arity, self.doc = name, arity, doc
        BY_NAME[name] = self

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[object, ...]:
        return (BY_NAME.__getitem__, (self.name,))


BY_NAME: dict[str, Op] = {}

# Leaves.
CONST = Op("CONST", 0, "a scalar; arg: the Python value")
PARAM = Op("PARAM", -1, "an input of a graph; arg: (number, shape); src: its symbolic dims")
BUFFER = Op("BUFFER", -1, "data on a device; arg: (storage, shape); src: its symbolic dims")
VAR = Op("VAR", 0, "a symbolic integer; arg: (name, least, greatest)")
ARANGE = Op("ARANGE", -1, "0, 1, ..., n-1; arg: (n,); src: n if symbolic")

# Movement: no arithmetic, only a map from output indices to input indices. Never copies.
RESHAPE = Op("RESHAPE", -1, "same elements in row-major order; arg: the new shape")
PERMUTE = Op("PERMUTE", 1, "out axis i is in axis arg[i]")
EXPAND = Op("EXPAND", -1, "axes of length 1 repeated; a scalar to any shape; arg: the new shape")
PAD = Op("PAD", -1, "zeros added; arg: (lo, hi, lo, hi, ...) per axis, none negative")
SHRINK = Op("SHRINK", -1, "out[i] = in[i + lo]; arg: (lo, length, lo, length, ...) per axis")
FLIP = Op("FLIP", 1, "axes in arg reversed")
SHEAR = Op("SHEAR", 1, "arg (axis, by, step, offset, length): out[.. i .. j ..] along axis, by "
           "is in[.. i + step*j + offset .. j ..], 0 outside; convolution windows")  # fmt: skip

# Elementwise, one source. Float results unless said otherwise.
NEG = Op("NEG", 1, "-x")
EXP = Op("EXP", 1, "e**x")
EXPM1 = Op("EXPM1", 1, "e**x - 1, accurate near 0")
LOG = Op("LOG", 1, "natural logarithm; NaN below 0, -inf at 0")
LOG1P = Op("LOG1P", 1, "log(1 + x), accurate near 0")
SIN = Op("SIN", 1, "sine of radians")
COS = Op("COS", 1, "cosine of radians")
SINH = Op("SINH", 1, "hyperbolic sine")
COSH = Op("COSH", 1, "hyperbolic cosine")
TANH = Op("TANH", 1, "hyperbolic tangent")
ERF = Op("ERF", 1, "2 / sqrt(pi) times the integral of e**(-t*t) from 0 to x")
SQRT = Op("SQRT", 1, "square root; NaN below 0")
FLOOR = Op("FLOOR", 1, "the greatest integer not above x, as a float")
ROUND = Op("ROUND", 1, "the nearest integer, ties to even, as a float")
ABS = Op("ABS", 1, "|x|; ints wrap at their minimum")
NOT = Op("NOT", 1, "bitwise for ints, logical for bool")
CAST = Op("CAST", 1, "convert to dtype: floats round to nearest even, float to int truncates and "
          "saturates (NaN: 0), int to int wraps, anything to bool is x != 0")  # fmt: skip
BITCAST = Op("BITCAST", 1, "the same bits read as dtype; equal widths")
STOP_GRADIENT = Op("STOP_GRADIENT", 1, "x, through which no derivative flows")
CONTIGUOUS = Op("CONTIGUOUS", 1, "x, in a buffer of its own; arg: in lowering (why, number)")
AFTER = Op("AFTER", -1, "x, for what must not be computed before the other sources are; in a "
           "kernel memory: as effects leave it, when LOADs have read it, or as an iteration of a "
           "RANGE finds it")  # fmt: skip

# Elementwise, two sources of one dtype. A source of shape () is broadcast.
ADD = Op("ADD", 2, "x + y; ints wrap; or on bool")
SUB = Op("SUB", 2, "x - y; ints wrap")
MUL = Op("MUL", 2, "x * y; ints wrap; and on bool")
DIV = Op("DIV", 2, "x / y of floats")
FLOORDIV = Op("FLOORDIV", 2, "floor(x / y) of ints; y = 0 gives 0")
MOD = Op("MOD", 2, "x - floor(x / y) * y, the sign of y, zero's too; of ints y = 0 gives 0; of "
         "floats from C's exact fmod, NaN for y = 0 and infinite x")  # fmt: skip
POW = Op("POW", 2, "x ** y of floats; IEEE 754 pow")
MAX = Op("MAX", 2, "the greater; NaN if either is; or on bool")
MIN = Op("MIN", 2, "the smaller; NaN if either is; and on bool")
LT = Op("LT", 2, "x < y, bool")
EQ = Op("EQ", 2, "x == y, bool")
NE = Op("NE", 2, "x != y, bool; true for NaN with anything")
AND = Op("AND", 2, "bitwise and of ints or bools")
OR = Op("OR", 2, "bitwise or of ints or bools")
XOR = Op("XOR", 2, "bitwise exclusive or of ints or bools")
SHL = Op("SHL", 2, "x << y of ints; 0 if y is not less than the width")
SHR = Op("SHR", 2, "x >> y of ints, keeping the sign, also where y is not less than the width")
WHERE = Op("WHERE", 3, "y where x (bool) is true, else z")

# Contractions and data-dependent access.
REDUCE = Op("REDUCE", -1, "arg ('add'|'mul'|'max'|'min', axes): axes combined and dropped; "
            "in a kernel the ranges follow in src and axes is ()")  # fmt: skip
GATHER = Op("GATHER", 2, "take_along_axis: out[.. i ..] = x[.. idx[.. i ..] ..] along axis arg; "
            "idx has x's shape but for that axis; an index outside is clamped")  # fmt: skip
SCATTER = Op("SCATTER", -1, "src (idx, g), arg ('add'|'mul'|'max'|'min', axis, length): what a "
             "reduction of nothing gives, with g[.. i ..] combined into out[.. idx[.. i ..] ..]; "
             "an index outside is clamped; 'add' is the adjoint of GATHER; in lowering a third "
             "source is what there was before, overwritten in its memory")  # fmt: skip

# Graphs as values.
CALL = Op("CALL", -1, "a graph, given the sources; arg: (its Body, whether derivatives compute it "
          "again instead of keeping what lies within)")  # fmt: skip
GET = Op("GET", 1, "result number arg of a CALL")

# Kernel level.
RANGE = Op("RANGE", 1, "a counter from 0 to src[0]-1; arg: (number, 'grid'|'loop'), or name and "
           "kind")  # fmt: skip
ARG = Op("ARG", -1, "a buffer of the kernel; arg: (position, elements), or the position where "
         "src is the number of elements")  # fmt: skip
REGISTERS = Op("REGISTERS", 0, "an array of one invocation's own; arg: (number, elements)")
LOAD = Op("LOAD", -1, "src (memory, index, ...): the element, read after the FORs that "
          "follow, and for every value of the RANGEs")  # fmt: skip
STORE = Op("STORE", -1, "src (memory, index, value[, condition]): writes the element, if the "
           "condition holds")  # fmt: skip
STAGE = Op("STAGE", -1, "src (value, RANGEs...): memory that holds the value for all counts of the "
           "RANGEs, filled where the others that it depends on are given; arg (space, strides)")
END = Op("END", -1, "src (effect, RANGEs...): the effect for every count, the first outermost")
BLOCK = Op("BLOCK", -1, "src (effects...): all of them; what order they need, AFTER says")
OPAQUE = Op("OPAQUE", 1, "x, which no compiler may rearrange")
FOR = Op("FOR", -1, "src (STORE, ranges...): the STORE for every value of the ranges")

TRANSCENDENTAL = frozenset({EXP, EXPM1, LOG, LOG1P, SIN, COS, SINH, COSH, TANH, ERF, POW})
UNARY = (TRANSCENDENTAL - {POW}) | {NEG, SQRT, FLOOR, ROUND, ABS, NOT}
COMPARISONS = frozenset({LT, EQ, NE})
BINARY = frozenset({ADD, SUB, MUL, DIV, FLOORDIV, MOD, POW, MAX, MIN, AND, OR, XOR, SHL, SHR})
BINARY |= COMPARISONS
ELEMENTWISE = UNARY | BINARY | {WHERE, CAST, BITCAST}
MEMORY = frozenset({ARG, REGISTERS})
IDENTITY = frozenset({STOP_GRADIENT, CONTIGUOUS, AFTER})
MOVEMENT = frozenset({RESHAPE, PERMUTE, EXPAND, PAD, SHRINK, FLIP, SHEAR})
COMMUTATIVE = frozenset({ADD, MUL, MAX, MIN, AND, OR, XOR, EQ, NE})
