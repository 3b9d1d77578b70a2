"""Hand-written Plans on the device: what it runs, what it refuses, and that the process lives."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import anneal
from anneal import config, device
from anneal.lowering.plan import Kernel, Launch, Param, Plan, Slot
from anneal.uop import dtypes
from anneal.wgsl.device import Loaded, Storage

F32 = dtypes.float32
ADD_ONE = "b0[id.x] = b1[id.x] + 1.0;"
IN_PLACE = "b0[id.x] = b0[id.x] + 1.0;"


@pytest.fixture
def webgpu() -> Any:
    return device.get("webgpu")


def kernel(body: str = ADD_ONE, inputs: int = 1, grid: tuple[int, int, int] = (1, 1, 1),
           workgroup: int = 4) -> Kernel:  # fmt: skip
    access = ["read_write"] + ["read"] * inputs
    lines = [f"@group(0) @binding({i}) var<storage, {a}> b{i}: array<f32>;"
             for i, a in enumerate(access)]  # fmt: skip
    lines.append(f"@compute @workgroup_size({workgroup})")
    lines.append(f"fn main(@builtin(global_invocation_id) id: vec3<u32>) {{ {body} }}")
    params = tuple(Param(F32, 4, "read" if a == "read" else "read_write") for a in access)
    return Kernel("hand", "\n".join(lines), grid, (workgroup, 1, 1), params)


def one_kernel(k: Kernel) -> Plan:
    n = len(k.params) - 1
    slots = (*[Slot(F32, 4, "input", i) for i in range(n)], Slot(F32, 4, "output"))
    return Plan(slots, (Launch(k, (n, *range(n))),), (n,))


def four(webgpu: Any) -> Storage:
    made: Storage = webgpu.upload(np.arange(4, dtype=np.float32))
    return made


def test_a_call_of_two_kernels_is_one_submission(webgpu: Any) -> None:
    slots = (Slot(F32, 4, "input", 0), Slot(F32, 4, "temp"), Slot(F32, 4, "output"))
    k = kernel()
    run = Loaded(webgpu, Plan(slots, (Launch(k, (1, 0)), Launch(k, (2, 1))), (2,)))
    x = four(webgpu)
    before = anneal.stats()
    (out,) = run([x])
    after = anneal.stats()
    assert after["submissions"] - before["submissions"] == 1
    assert after["launches"] - before["launches"] == 2
    assert webgpu.read(out).tolist() == [2, 3, 4, 5]


def test_a_donated_input_is_updated_in_place_and_gone(webgpu: Any) -> None:
    slots = (Slot(F32, 4, "input", 0), Slot(F32, 4, "output", alias=0))
    run = Loaded(webgpu, Plan(slots, (Launch(kernel(IN_PLACE, 0), (1,)),), (1,)))
    x = four(webgpu)
    memory = x.buffer
    (kept,) = run([x])
    assert kept.buffer is not memory and not x.spent  # nobody gave x away
    (out,) = run([x], device.Donation(frozenset({0})))
    assert out.buffer is memory and x.spent
    assert webgpu.read(kept).tolist() == [1, 2, 3, 4]
    assert webgpu.read(out).tolist() == [1, 2, 3, 4]
    for use in (webgpu.read, webgpu.copy):
        with pytest.raises(device.DeviceError, match="donated"):
            use(x)
    with pytest.raises(device.DeviceError, match="input 0 was donated"):
        run([x])


def test_an_input_returned_as_it_is_submits_nothing(webgpu: Any) -> None:
    run = Loaded(webgpu, Plan((Slot(F32, 4, "input", 0),), (), (0,)))
    x = four(webgpu)
    before = anneal.stats()["submissions"]
    assert run([x]) == [x]
    assert anneal.stats()["submissions"] == before


def test_two_thousand_calls_leave_live_bytes_steady(webgpu: Any) -> None:
    run = Loaded(webgpu, one_kernel(kernel()))
    (x,) = run([four(webgpu)])
    before = anneal.stats()
    for _ in range(2000):
        (x,) = run([x])
    after = anneal.stats()
    assert after["live_bytes"] == before["live_bytes"]
    assert after["buffers"] - before["buffers"] <= 1
    assert webgpu.read(x).tolist() == [2001, 2002, 2003, 2004]


def test_bad_wgsl_names_the_kernel_and_numbers_its_lines(webgpu: Any) -> None:
    with pytest.raises(device.DeviceError, match=r"(?s)hand does not compile.*   4 fn main"):
        Loaded(webgpu, one_kernel(kernel("b0[id.x] = 1u;")))
    assert webgpu.read(Loaded(webgpu, one_kernel(kernel()))([four(webgpu)])[0])[0] == 1


def test_too_many_buffers_are_refused(webgpu: Any) -> None:
    most = webgpu.limits.max_buffers
    body = "b0[id.x] = " + " + ".join(f"b{i}[id.x]" for i in range(1, most + 1)) + ";"
    with pytest.raises(device.DeviceError, match=f"binds {most + 1} buffers"):
        Loaded(webgpu, one_kernel(kernel(body, most)))


def test_too_many_workgroups_are_refused_also_of_known_text(webgpu: Any) -> None:
    webgpu.pipeline(kernel())
    with pytest.raises(device.DeviceError, match="70000"):
        Loaded(webgpu, one_kernel(kernel(grid=(70000, 1, 1))))


def test_an_over_large_workgroup_is_refused(webgpu: Any) -> None:
    with pytest.raises(device.DeviceError, match="hand does not compile"):
        Loaded(webgpu, one_kernel(kernel(workgroup=4096)))


def test_an_array_over_the_binding_limit_is_refused_and_nothing_counted(webgpu: Any) -> None:
    before = anneal.stats()["live_bytes"]
    with pytest.raises(device.DeviceError, match="exceeds the device's"):
        webgpu.new(F32, webgpu.limits.max_binding_bytes // 4 + 1)
    assert anneal.stats()["live_bytes"] == before


def test_a_buffer_read_and_written_at_once_is_refused(webgpu: Any) -> None:
    slots = (Slot(F32, 4, "input", 0), Slot(F32, 4, "output", alias=0))
    run = Loaded(webgpu, Plan(slots, (Launch(kernel(), (1, 0)),), (1,)))
    x = four(webgpu)
    with pytest.raises(device.DeviceError, match="read and write one buffer"):
        run([x], device.Donation(frozenset({0})))
    assert webgpu.read(x).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("data", [
    np.arange(5, dtype=np.float16), np.array([True, False, True]), np.zeros(0, np.float32),
    np.array([-(2**31), 2**31 - 1], np.int32), np.array([2**32 - 1], np.uint32),
    np.array([np.nan, np.inf, -0.0], np.float32),
])  # fmt: skip
def test_what_is_uploaded_is_read_back(webgpu: Any, data: np.ndarray[Any, Any]) -> None:
    back = webgpu.read(webgpu.upload(data))
    assert back.dtype == data.dtype
    assert back.tobytes() == data.tobytes()


def test_a_dtype_that_the_device_cannot_hold_is_refused(webgpu: Any) -> None:
    with pytest.raises(TypeError, match="float64"):
        webgpu.upload(np.zeros(3))


def test_unknown_devices_are_refused_by_the_known_names() -> None:
    with pytest.raises(device.DeviceError, match="webgpu, cpu, interpreter"):
        anneal.default_device("cuda")


def test_without_a_gpu_one_line_says_so() -> None:
    code = "import anneal.numpy as np; print(float(np.asarray(1.0) + 1))"
    env = {k: v for k, v in os.environ.items() if k != "ANNEAL_DEVICE"}
    env.pop("XDG_RUNTIME_DIR", None)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.stdout == "2.0\n"
    if device.report()["device"] == "interpreter":
        assert done.stderr == "anneal: no GPU adapter answers; running on the interpreter (NumPy)\n"


def test_the_session_folder_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with config.no_display():
        assert "XDG_RUNTIME_DIR" in os.environ
    assert "XDG_RUNTIME_DIR" not in os.environ


def test_a_temporary_beyond_the_limit_is_refused_with_its_line(webgpu: Any) -> None:
    """Found before the program runs, and nothing stays allocated."""
    most = webgpu.limits.max_binding_bytes
    n = int((most // 4) ** 0.5) + 4
    x = np.ones((n, 64), np.float32)
    before = anneal.stats()["live_bytes"]
    with anneal.default_device("webgpu"):
        f = anneal.jit(lambda x: ((x @ x.T) @ x).sum())
        with pytest.raises(device.DeviceError, match=r"test_plans.py:\d+ would .* exceeds"):
            f(x)
    del f
    assert anneal.stats()["live_bytes"] - before <= x.nbytes
