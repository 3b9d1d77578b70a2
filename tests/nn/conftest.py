"""On the interpreter and on WebGPU."""

from tests.devices import _device, pytest_generate_tests, pytest_pyfunc_call

__all__ = ["_device", "pytest_generate_tests", "pytest_pyfunc_call"]
