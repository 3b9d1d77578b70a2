"""A share of the mutated files of `python -m tests.fuzz_files`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz_files import KINDS, fuzz

COUNTS = {"plans": 60, "safetensors": 800, "archives": 400}


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_files_are_refused_or_read_as_they_are(kind: str, tmp_path: Path) -> None:
    outcomes = fuzz(kind, 1_000_000, COUNTS[kind], tmp_path)
    assert sum(outcomes.values()) == COUNTS[kind]
    assert len(outcomes) > 1  # some are refused, some are not
