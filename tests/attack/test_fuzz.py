"""The attack itself: it repeats, it notices, and one round of each target holds."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from corpus import audio_seeds, list_seeds, model_seeds
from model_mutation import mutated_model
from mutation import mutated
from targets import TARGETS, AudioTarget, Command, faults, run


def test_the_same_seed_gives_the_same_damage() -> None:
    content = bytes(range(256)) * 20
    first, again, other = (mutated(content, random.Random(seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert first != content
    for _, model in model_seeds():
        assert mutated_model(model, random.Random(1)) == mutated_model(model, random.Random(1))


@pytest.mark.parametrize("seed", range(40))
def test_damage_needs_no_content(seed: int) -> None:
    for content in (b"", b"x"):
        mutated(content, random.Random(seed))  # raises nothing


def test_seeds_are_healthy() -> None:
    assert len({suffix for suffix, _ in audio_seeds()}) >= 15
    assert all(content for _, content in (*audio_seeds(), *model_seeds(), *list_seeds("a.wav")))


def test_what_must_not_happen_is_noticed(tmp_path: Path) -> None:
    quiet = Command(0, "", "", 1.0, 100.0)
    for folder in ("home/mer", "tmp"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "home" / "mer" / "kept").touch()
    assert faults(quiet, (0,), tmp_path) == []
    for command in (
        Command(None, "", "", 1.0, 100.0),
        Command(-11, "", "", 1.0, 100.0),
        Command(0, "", "Traceback (most recent call last)", 1.0, 100.0),
        Command(0, "internal error: KeyError", "", 1.0, 100.0),
        Command(0, "", "", 1.0, 2_000.0),
    ):
        assert len(faults(command, (0,), tmp_path)) == 1
    (tmp_path / "tmp" / "left").touch()
    assert len(faults(quiet, (0,), tmp_path)) == 1


def test_a_command_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "forever.py").write_text("import time; time.sleep(600)")
    monkeypatch.setattr("targets._LIMIT_S", 2.0)
    assert run(["forever"], tmp_path).code is None


@pytest.mark.parametrize("name", TARGETS)
def test_one_round(name: str, tmp_path: Path) -> None:
    make, _ = TARGETS[name]
    target = AudioTarget(files=30) if name == "audio" else make()
    done = target(tmp_path, random.Random(name))
    assert done.findings == []
    assert sum(done.outcomes.values())


def test_the_script_says_what_it_did(tmp_path: Path) -> None:
    script = Path(__file__).parent / "fuzz.py"
    command = [sys.executable, str(script), "--seconds", "0.1", "--only", "results", "--keep", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"[1-9]\d* rounds", done.stdout)  # as many as the machine makes in that time
    assert "0 findings" in done.stdout
