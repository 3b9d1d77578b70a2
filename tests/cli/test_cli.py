"""The commands as a user runs them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anneal.cli import main
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
        assert main(["train", model, "--steps", "30", "--plain", "--device", device]) == 0
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
    ],
)
def test_mistakes_are_one_line_and_status_2(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_a_damaged_data_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.npz"
    path.write_bytes(b"PK\x03\x04 not really")
    assert main(["train", "mlp", "--data", str(path), "--device", "interpreter"]) == 2
    assert "bad.npz" in capsys.readouterr().err


def test_doctor_names_the_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("device ")
    assert "adapter" in out
