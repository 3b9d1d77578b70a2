"""The commands as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anneal import device as devices
from anneal.cli import main
from anneal.data import DIGITS
from anneal.io import load_safetensors


def test_training_reaches_its_accuracy_and_saves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mlp.safetensors"
    assert main(["train", "--plain", "mlp", "--device", "interpreter", "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    accuracy = next(line for line in lines if line.startswith("test accuracy"))
    assert float(accuracy.split()[-1]) >= 0.96
    saved = load_safetensors(out)
    assert saved["0.w"].shape == (64, 128)
    assert sorted(saved) == ["0.b", "0.w", "1.b", "1.w", "2.b", "2.w"]


def _losses(text: str) -> list[float]:
    return [float(line.split()[3]) for line in text.splitlines() if line.startswith("step")]


@pytest.mark.parametrize("model", ["mlp", "conv"])
def test_webgpu_and_the_interpreter_agree(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for device in ("webgpu", "interpreter"):
        assert main(["train", model, "--steps", "50", "--plain", "--device", device]) == 0
        found.append(_losses(capsys.readouterr().out))
    assert len(found[0]) > 5
    np.testing.assert_allclose(found[0], found[1], atol=1e-3)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["train", "rnn"], "unknown model 'rnn'"),
        (["train"], "unknown model None"),
        (["bake"], "unknown command 'bake'"),
        (["train", "mlp", "--device", "tpu"], "unknown device 'tpu'"),
        (["train", "mlp", "--data", "nowhere.npz"], "nowhere.npz: No such file"),
        (["train", "mlp", "--out", "no/such/folder/x.safetensors"], "no such folder"),
        (["train", "mlp", "--out", "."], "is a folder"),
        (["train", "mlp", "--data", "."], "Is a directory"),
        (["doctor", "mlp"], "unexpected argument 'mlp'"),
    ],
)
def test_mistakes_are_one_line_and_status_2(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "required: command"),
        (["train", "mlp", "--bogus"], "unrecognized arguments: --bogus"),
        (["train", "mlp", "--steps", "x"], "--steps: expected a whole number, got 'x'"),
        (["--steps", "0", "train", "mlp"], "--steps: expected a number of at least 1, got 0"),
        (["train", "mlp", "--lr", "nan"], "--lr: expected a number above 0, got nan"),
        (["train", "mlp", "--out", ""], "--out: expected a name, got nothing"),
        (["train", "mlp", "--data", ""], "--data: expected a name, got nothing"),
        (["train", "mlp", "--device", ""], "--device: expected a name, got nothing"),
    ],
)
def test_malformed_options_are_one_line_and_status_2(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def _flipped(path: Path) -> None:
    raw = bytearray(DIGITS.read_bytes())
    raw[len(raw) // 2] ^= 255
    path.write_bytes(raw)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "not a zip archive": lambda path: path.write_bytes(b"PK\x03\x04 not really"),
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(DIGITS.read_bytes()[:20000]),
    "a byte flipped": _flipped,
    "no labels": lambda path: np.savez(path, images=np.zeros((20, 8, 8))),
    "objects": lambda path: np.savez(path, images=np.array([{}]), labels=np.zeros(1, int)),
    "other shapes": lambda path: np.savez(path, images=np.zeros((20, 9, 9)), labels=np.zeros(20)),
    "labels of 11 classes": lambda path: np.savez(
        path, images=np.zeros((11, 8, 8)), labels=np.arange(11)),
    "pixels that are not finite": lambda path: np.savez(
        path, images=np.full((20, 8, 8), np.nan), labels=np.zeros(20, int)),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_data_file(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.npz"
    DAMAGES[damage](path)
    assert main(["train", "mlp", "--data", str(path), "--device", "interpreter"]) == 2
    err = capsys.readouterr().err
    assert "bad.npz" in err
    assert err.count("\n") == 1


def test_output_that_nobody_reads_ends_quietly() -> None:
    command = [sys.executable, "-c", "import sys; from anneal.cli import main; sys.exit(main())",
               "train", "mlp", "--plain", "--steps", "200", "--device", "interpreter"]  # fmt: skip
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert run.stdout is not None and run.stderr is not None
    run.stdout.readline()
    run.stdout.close()
    assert run.stderr.read() == ""
    assert run.wait() == 1
    run.stderr.close()


def test_doctor_names_the_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("device ")
    assert "adapter" in out


# -- output and settings ---------------------------------------------------------------------------

COMMAND = "import sys; from anneal.cli import main; sys.exit(main())"
TRAIN = "train mlp --plain --steps 3 --device interpreter"


def shell(arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The command as a shell runs it, redirections included."""
    env = {**os.environ, "PYTHONPATH": ":".join(sys.path), **environment}
    return subprocess.run(f"'{sys.executable}' -c '{COMMAND}' {arguments}", shell=True, env=env,
                          capture_output=True)  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (f"{TRAIN} >&-", b"anneal: standard output is closed\n"),
        ("cache >&-", b"anneal: standard output is closed\n"),
        ("cache >/dev/full", b"anneal: [Errno 28] No space left on device\n"),
        (f"{TRAIN} >/dev/full", b"anneal: [Errno 28] No space left on device\n"),
        (f"{TRAIN} >&- 2>&-", b""),
        ("bake 2>&-", b""),
        ("bake 2>/dev/full", b""),
    ],
)
def test_output_that_cannot_be_written_is_one_line(arguments: str, said: bytes) -> None:
    done = shell(arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, b"", said)


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_names_that_the_output_cannot_spell(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff\xc3\xa9.safetensors"
    done = shell(f'{TRAIN} --out "$NAME"', NAME=os.fsdecode(name), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert os.path.exists(name)


NO_LIMITS = ["\u00b2", "\u0668", "3", "-8", "8.0", "1e3", "+8", " 8", "9" * 5000]


@pytest.mark.parametrize("value", NO_LIMITS, ids=range(len(NO_LIMITS)))
@pytest.mark.parametrize("place", ["webgpu", "interpreter"])
def test_a_limit_that_is_none_is_one_line(
    value: str, place: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANNEAL_MAX_BUFFERS", value)
    assert main(["train", "mlp", "--plain", "--steps", "1", "--device", place]) == 2
    err = capsys.readouterr().err
    assert "ANNEAL_MAX_BUFFERS: expected a number of at least 4" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("kind", ["RuntimeError", "GPUError"])
@pytest.mark.parametrize("command", ["train mlp --device webgpu", "doctor --device webgpu"])
def test_an_adapter_that_does_not_open_is_one_line(
    kind: str, command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import wgpu

    def refuse(self: object, **_: object) -> None:
        raise (RuntimeError if kind == "RuntimeError" else wgpu.GPUError)("lost\nits way")

    monkeypatch.setattr(wgpu.GPUAdapter, "request_device_sync", refuse)
    monkeypatch.setattr(devices, "_devices", {})
    assert main(command.split()) == 2
    err = capsys.readouterr().err
    assert "does not open: lost its way" in err and err.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
@pytest.mark.parametrize("out", ["loop", "lost/x", "file/x", "protected"])
def test_places_that_cannot_be_written_are_refused_before_the_training(
    out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "protected").symlink_to("/proc/no/such")
    assert main(["train", "mlp", "--out", str(tmp_path / out)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and f"--out {tmp_path / out}: " in said.err
    assert said.err.count("\n") == 1


# -- large data ------------------------------------------------------------------------------------


def test_more_data_than_a_buffer_holds_is_evaluated_in_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    webgpu = devices.get("webgpu")
    monkeypatch.setattr(webgpu, "limits", replace(webgpu.limits, max_binding_bytes=1 << 20))
    path, out = tmp_path / "many.npz", tmp_path / "x.safetensors"
    labels = np.arange(25_000) % 10
    images = np.zeros((len(labels), 8, 8), np.uint8)  # 1.3 MB of float32 in the fifth for the test
    images[np.arange(len(labels)), labels % 8, labels // 8] = 255
    np.savez(path, images=images, labels=labels)
    arguments = ["train", "mlp", "--plain", "--steps", "2", "--device", "webgpu"]
    assert main([*arguments, "--data", str(path), "--out", str(out)]) == 0
    assert "test accuracy" in capsys.readouterr().out
    assert load_safetensors(out)


@pytest.mark.parametrize("part", [7, 359, 360])
def test_the_parts_of_the_evaluation_make_no_difference(
    part: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["train", "mlp", "--plain", "--steps", "5", "--device", "interpreter"]
    assert main(arguments) == 0
    whole = capsys.readouterr().out
    monkeypatch.setattr("anneal.cli.train._EVALUATED", part)
    assert main(arguments) == 0
    assert capsys.readouterr().out == whole


def test_a_batch_that_no_buffer_holds_is_refused_before_the_training(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    webgpu = devices.get("webgpu")
    monkeypatch.setattr(webgpu, "limits", replace(webgpu.limits, max_binding_bytes=200_000))
    assert main(["train", "mlp", "--plain", "--batch", "1400", "--device", "webgpu"]) == 2
    said = capsys.readouterr()
    assert "loss" not in said.out
    assert "exceeds the device's 200000 bytes" in said.err and said.err.count("\n") == 1
