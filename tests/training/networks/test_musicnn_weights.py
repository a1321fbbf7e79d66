"""Published weights are fetched once, checked, kept with their notice, and read from there."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from merkit.engine.errors import MerError, UsageError
from merkit.training.networks import musicnn_weights
from merkit.training.networks.backbones import build_backbone, check_weights
from merkit.training.networks.musicnn_weights import musicnn_state
from safetensors import safe_open
from tensorflow_files import random_musicnn, write_musicnn_wheel


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that passes for the published one, an empty home, and no network."""
    path = tmp_path / "musicnn-0.1.0-py3-none-any.whl"
    content = write_musicnn_wheel(path, (random_musicnn(0), random_musicnn(1)))
    monkeypatch.setattr(musicnn_weights, "_WHEEL_SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setenv("MER_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(subprocess, "run", _Pip(None))
    return path


class _Pip:
    """Stands for pip; gives one file, or fails as without a network."""

    def __init__(self, content: bytes | None) -> None:
        self.content = content
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str], **_: Any) -> SimpleNamespace:
        self.commands.append(command)
        if self.content is None:
            return SimpleNamespace(stderr="WARNING: retrying\nERROR: No matching distribution found\n")
        folder = Path(command[command.index("--dest") + 1])
        (folder / "musicnn-0.1.0-py3-none-any.whl").write_bytes(self.content)
        return SimpleNamespace(stderr="")


def test_they_are_fetched_once_after_one_line(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pip, lines = _Pip(wheel.read_bytes()), []
    monkeypatch.setattr(subprocess, "run", pip)
    msd, mtt = musicnn_state("musicnn-msd", lines.append), musicnn_state("musicnn-mtt", lines.append)
    assert len(lines) == len(pip.commands) == 1
    assert "pip download musicnn==0.1.0" in lines[0]
    assert {"--no-deps", "--only-binary", "musicnn==0.1.0"} <= set(pip.commands[0])  # no code of it is run
    for state, seed in ((msd, 0), (mtt, 1)):
        theirs = random_musicnn(seed)["dense_1/kernel"]
        torch.testing.assert_close(state["classifier.weight"], torch.from_numpy(theirs.T.copy()))
    home = tmp_path / "home" / "weights"
    assert {path.name for path in home.iterdir()} == {
        "musicnn-msd.safetensors", "musicnn-mtt.safetensors", "musicnn-NOTICE.txt"
    }  # fmt: skip
    assert "Universitat Pompeu Fabra" in (home / "musicnn-NOTICE.txt").read_text()
    with safe_open(home / "musicnn-mtt.safetensors", "pt") as file:
        assert "Universitat Pompeu Fabra" in file.metadata()["notice"]


def test_a_wheel_serves_without_a_network(wheel: Path):
    network = build_backbone("musicnn", 4, str(wheel))
    again = build_backbone("MusiCNN", 4, "musicnn-msd")  # kept
    for name, tensor in network.state_dict().items():
        if not name.startswith("classifier"):
            torch.testing.assert_close(again.state_dict()[name], tensor)
    assert network(torch.zeros(2, 1, 96, 40)).shape == (2, 4)
    with_tags = build_backbone("musicnn", 4, "musicnn-mtt", extra_head=True)
    assert with_tags(torch.zeros(2, 1, 96, 40)).shape == (2, 4)


def test_what_cannot_be_had_is_said(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(MerError, match=r"cannot be fetched: ERROR: No matching .* give its .whl"):
        musicnn_state("musicnn-msd", lambda line: None)
    with pytest.raises(UsageError, match=r"other\.whl: no such file; give musicnn-msd, musicnn-mtt, or"):
        build_backbone("musicnn", 2, "other.whl")
    changed = tmp_path / "changed.whl"
    changed.write_bytes(wheel.read_bytes() + b"\0")
    with pytest.raises(MerError, match=r"changed.whl is not the wheel of musicnn==0.1.0 .*SHA-256"):
        build_backbone("musicnn", 2, str(changed))
    monkeypatch.setattr(subprocess, "run", _Pip(changed.read_bytes()))
    with pytest.raises(MerError, match=r"is not the wheel of musicnn==0.1.0"):
        musicnn_state("musicnn-msd", lambda line: None)
    assert not (tmp_path / "home" / "weights").exists()


def test_weights_of_the_wrong_network_are_refused_before_any_work(wheel: Path):
    for names, weights, reason in (
        (["audiocnn"], "musicnn-msd", "musicnn-msd are weights of musicnn, not of audiocnn"),
        (["musicnn", "resnet18"], "musicnn-mtt", "musicnn-mtt are weights of musicnn, not of resnet18"),
        (["musicnn"], "imagenet", "musicnn hears no images; it begins with musicnn-msd, musicnn-mtt, none"),
        (["musicnn"], "nothing.safetensors", "no such file"),
    ):
        with pytest.raises(UsageError, match=reason):
            check_weights(names, weights)
    check_weights(["musicnn"], "musicnn-msd")  # nothing is fetched


def test_a_kept_file_that_is_damaged_says_which(wheel: Path, tmp_path: Path):
    musicnn_state(str(wheel))
    kept = tmp_path / "home" / "weights" / "musicnn-msd.safetensors"
    kept.write_bytes(kept.read_bytes()[:1_000])
    with pytest.raises(MerError, match=r"musicnn-msd.safetensors cannot be read .*remove it"):
        musicnn_state("musicnn-msd")
