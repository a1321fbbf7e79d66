"""What int16 changes is counted song by song; the network and the songs are made up."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from audio_files import noise, write_audio
from merkit.benchmarks.experiments import gpu_int16
from merkit.benchmarks.experiments.gpu_int16 import Int16, both_log_mels, compare_int16
from merkit.engine.errors import MerError
from merkit.engine.labelling.file_windows import WindowOptions
from merkit.engine.labelling.worker_pool import Failure
from merkit.engine.spec import AudioSpec


def label(emotion: str, verdict: str, *probabilities: float) -> Any:
    return SimpleNamespace(emotion=emotion, verdict=verdict, probabilities=probabilities)


SAME = label("happy", "music", 0.7, 0.3)
PAIRS = [
    (SAME, SAME),
    (SAME, label("sad", "music", 0.45, 0.55)),
    (SAME, label("happy", "unsure", 0.71, 0.29)),
]


def test_changes_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool gives pairs of labels in place of log-mels; the second song fails."""
    runtime = SimpleNamespace(infer=lambda each: each)
    results: list[Any] = [("facts", *pair) for pair in PAIRS]
    results.insert(1, Failure("it is torn", True))
    pool = SimpleNamespace(map=lambda _: (result for result in enumerate(results)))
    monkeypatch.setattr(gpu_int16, "WorkerPool", lambda *_: nullcontext(pool))
    monkeypatch.setattr(gpu_int16, "open_runtime", lambda _: nullcontext(runtime))
    monkeypatch.setattr(gpu_int16, "label_from_logits", lambda path, facts, logits, spec: logits)
    monkeypatch.setattr(gpu_int16, "inputs_from_paths", lambda _: SimpleNamespace(paths=["a", "b", "c", "d"]))
    said: list[str] = []
    found = compare_int16(tmp_path, said.append)
    assert said == ["b: it is torn"]
    assert replace(found, probability=0.0) == Int16(songs=3, failed=1, emotions=1, verdicts=1)
    assert found.probability == pytest.approx(0.25)


def test_a_folder_without_audio(tmp_path: Path) -> None:
    with pytest.raises(MerError, match="no audio"):
        compare_int16(tmp_path)


def test_both_are_of_the_same_windows(tmp_path: Path) -> None:
    spec = AudioSpec(window_samples=16_000, frames=32, n_mels=32, n_fft=1_024)
    path = write_audio(tmp_path / "a.wav", noise(5, 16_000), 16_000)
    _, plain, packed = both_log_mels(str(path), WindowOptions(spec))
    assert plain.shape == packed.shape
    assert 0 < np.abs(plain - packed).max() < 0.1
