"""The errors users meet, named as in JAX, so that what is known about those applies here.

Each says what was expected, what came, where, and what to do. Imports nothing of anneal.
"""

from __future__ import annotations


class AnnealError(Exception):
    """What all errors of this module have in common."""


class ConcretizationTypeError(AnnealError, TypeError):
    """A value was needed where only its shape and dtype are known: inside `jit`."""


class TracerBoolConversionError(ConcretizationTypeError):
    """`if x:`, `while x:`, `x and y` or `bool(x)` on a value that `jit` is still tracing."""


class TracerIntegerConversionError(ConcretizationTypeError):
    """`range(x)`, a list index or `int(x)`, on a value that `jit` is still tracing."""


class TracerArrayConversionError(ConcretizationTypeError):
    """A NumPy function, or `np.asarray(x)`, on a value that `jit` is still tracing."""


class NonConcreteBooleanIndexError(AnnealError, IndexError):
    """`x[mask]` inside `jit`: the shape of the result would depend on the mask's values."""


class UnexpectedTracerError(AnnealError, TypeError):
    """A value outlived the trace that it belongs to, in a global, an attribute or a closure."""


class NonDifferentiableError(AnnealError, TypeError):
    """An operation without a gradient rule stands between the output and the input."""


class DeletedArrayError(AnnealError, RuntimeError):
    """An array was used after its memory was donated to a jitted function."""


class LoweringError(AnnealError, RuntimeError):
    """A program would need a kernel that no device computes right."""


class TreeError(AnnealError, ValueError):
    """Two pytrees that should have one structure differ."""
