"""docs/numerics.md: the errors that it names are not exceeded, and none is above 4 ulp."""

from __future__ import annotations

import pytest

from tests.accuracy_table import (
    DEVICES,
    NARROW,
    ROWS,
    measure,
    measure_narrow,
    of_every_float,
    stated,
    unlike_numpy,
)

# Overflow and NaN are among what is tried.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
# NumPy's float64 differs by processor by less, and the worst of other numbers by as much.
_SLACK = 0.5


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ROWS)
def test_errors_are_at_most_those_of_the_page(name: str, device: str) -> None:
    found, allowed = measure(name, device), float(stated()[name][device])
    assert found <= allowed + _SLACK, f"{found:.2f} ulp, the page says {allowed}"
    assert allowed <= 4


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("name", ROWS)
def test_errors_of_16_bits_are_at_most_those_of_the_page(name: str, dtype: str) -> None:
    found, allowed = measure_narrow(name, dtype), float(stated()[name][dtype])
    assert found <= allowed + _SLACK, f"{found:.2f} ulp, the page says {allowed}"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ROWS)
def test_special_values_are_those_of_numpy(name: str, device: str) -> None:
    assert unlike_numpy(name, device) == []
    assert stated()[name]["special values"] == "yes"


def test_the_page_has_every_function() -> None:
    assert list(stated()) == list(ROWS)
    assert max(of_every_float().values()) <= 4
    assert of_every_float().keys() <= ROWS.keys()
