"""The commands as a user runs them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

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
