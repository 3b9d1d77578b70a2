"""docs/numerics.md: the errors that it names are not exceeded."""

from __future__ import annotations

import pytest

from tests.accuracy_table import DEVICES, ROWS, measure, stated


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ROWS)
def test_errors_are_at_most_those_of_the_page(name: str, device: str) -> None:
    found, allowed = measure(name, device), stated()[name][device]
    slack = 0.5 if device == "webgpu" else 3.0  # NumPy's functions differ by processor
    assert found <= allowed + slack, f"{name} on {device}: {found:.2f} ulp, the page says {allowed}"
    assert allowed <= 8


def test_the_page_has_every_function() -> None:
    assert list(stated()) == list(ROWS)
