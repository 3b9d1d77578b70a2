"""The families: each makes the text of a program from choices."""

from __future__ import annotations

from collections.abc import Callable

from tests.random_programs.buffers import buffers
from tests.random_programs.calls import calls
from tests.random_programs.choices import Choices
from tests.random_programs.donation import donation
from tests.random_programs.index_dtypes import index_dtypes
from tests.random_programs.indices import indices
from tests.random_programs.operations import operations
from tests.random_programs.reductions import reductions

Family = Callable[[Choices], str]

FAMILIES: dict[str, Family] = {
    f.__name__: f for f in (operations, indices, index_dtypes, buffers, donation, reductions, calls)
}
