"""The checks that need DALI, without a GPU: DALI's CPU backend, and ONNX Runtime in the stand-in's place."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audio_files import noise, write_audio
from gpu_on_cpu import OnCpu
from merkit.benchmarks.experiments import gpu
from merkit.benchmarks.experiments.gpu_checks import sound, with_dali
from merkit.benchmarks.experiments.gpu_checks.bench import Bench, CheckFailed
from merkit.engine.artifact import Artifact
from merkit.engine.errors import DeviceError, DeviceMemoryError
from merkit.engine.labelling.gpu_pipeline import GpuPipeline
from merkit.engine.labelling.song_label import SongLabel
from merkit.engine.runtimes import open_runtime, tensorrt
from merkit.engine.spectrogram.dali import DaliLogMel

pytest.importorskip("nvidia.dali", reason="DALI runs on Linux only")


class OnGpu:
    """DALI's array, as the checks read it."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self.__cuda_array_interface__ = {"typestr": "=f"}

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        return self._array

    def __len__(self) -> int:
        return len(self._array)

    def as_cpu(self) -> np.ndarray:
        return self._array


class OnCpuAfterAll(DaliLogMel):
    """Whatever device is asked for."""

    def __init__(self, spec: Any, batch: int, device: str = "gpu", **options: Any) -> None:
        super().__init__(spec, batch, "cpu", **options)

    def take(self, stream: int | None = None) -> Any:
        return OnGpu(super().take())


@pytest.fixture
def bench(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    songs = tmp_path / "songs"
    songs.mkdir()
    for i in range(3):
        write_audio(songs / f"{i}.wav", noise(12 + i, 22_050, i), 22_050)

    def engine(bench: Bench, artifact: Artifact | None = None, **_: Any) -> Artifact:
        profile = {"min": [1], "opt": [16], "max": [16]}
        return dataclasses.replace(artifact or bench.first, facts={"profiles": {"images": profile}})

    def runtime(artifact: Artifact, threads: int = 0, gpu: int = 0) -> OnCpu:
        return OnCpu(open_runtime(artifact, "onnxruntime", 1), 16)

    @contextmanager
    def driver() -> Iterator[None]:
        yield None

    monkeypatch.setattr(with_dali, "require_real_gpu", lambda: None)
    monkeypatch.setattr(Bench, "engine", engine)
    monkeypatch.setattr(OnCpu, "__exit__", lambda *_: None)  # a runtime may be closed twice, ORT's not
    for module in (with_dali, gpu):
        monkeypatch.setattr(module, "DaliLogMel", OnCpuAfterAll)
    monkeypatch.setattr(with_dali, "open_runtime", runtime)
    monkeypatch.setattr(tensorrt, "open_runtime", runtime)
    monkeypatch.setattr(with_dali, "open_gpu_pipeline", pipeline)
    monkeypatch.setattr(with_dali, "driver", driver)
    monkeypatch.setattr(with_dali, "fill_memory", lambda *_: None)
    name, preset = next(iter(with_dali.PRESETS.items()))
    monkeypatch.setattr(with_dali, "PRESETS", {name: preset})
    return Bench({"tiny": tiny_model}, 0.05, tmp_path, songs)


def pipeline(artifact: Artifact, batch: int = 64) -> GpuPipeline:
    spec = artifact.spec.audio
    runtime = OnCpu(open_runtime(artifact, "onnxruntime", 1), batch)
    return GpuPipeline(runtime, spec, lambda size: DaliLogMel(spec, size, "cpu", packed=True))


def test_they_run(bench: Bench) -> None:
    assert with_dali.check_dali(bench)["presets"][0]["ordinary_db"] < 0.01
    pytest.importorskip("librosa")
    assert with_dali.check_real_mel(bench)["db"] < 0.01
    songs = with_dali.check_songs(bench)
    assert songs["songs"] == 21
    assert songs["probabilities"] < 0.001
    assert with_dali.check_dali_memory(bench)["summary"].endswith("4096 MiB: batches of 64")
    assert with_dali.check_overlap(bench)["batch"] == 16


def test_wrong_rows_and_errors_that_are_not_of_memory_fail(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Quieter(DaliLogMel):
        def take(self, stream: int | None = None) -> Any:
            return super().take() - 3

    def wrong(artifact: Artifact) -> GpuPipeline:
        spec = artifact.spec.audio
        runtime = OnCpu(open_runtime(artifact, "onnxruntime", 1), 64)
        return GpuPipeline(runtime, spec, lambda size: Quieter(spec, size, "cpu", packed=True))

    monkeypatch.setattr(with_dali, "open_gpu_pipeline", wrong)
    with pytest.raises(CheckFailed):
        with_dali.check_songs(bench)

    def full(artifact: Artifact) -> GpuPipeline:
        raise errors.pop(0)

    monkeypatch.setattr(with_dali, "open_gpu_pipeline", full)
    errors: list[Exception] = [DeviceMemoryError("no room"), DeviceError("DALI makes no log-mels")]
    with pytest.raises(DeviceError, match="makes no"):
        with_dali.check_dali_memory(bench)


@pytest.mark.parametrize(("ordinary", "quiet"), [(0.02, 0.02), (0.005, 0.4)])
def test_log_mels_that_differ_fail(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, ordinary: float, quiet: float
) -> None:
    monkeypatch.setattr(sound, "decibels_apart", lambda *_: (ordinary, quiet))
    with pytest.raises(CheckFailed, match=f"differs by {ordinary:.3f} dB, and {quiet:.3f} dB where it is"):
        with_dali.check_dali(bench)


def test_probabilities_differ_whichever_way() -> None:
    def row(*probabilities: float) -> SongLabel:
        return SongLabel("a.mp3", emotion="happy", probabilities=probabilities)

    expected = [row(0.4, 0.3, 0.3)]
    assert with_dali._require_same([row(0.399, 0.3005, 0.3005)], expected) == pytest.approx(0.001)
    with pytest.raises(CheckFailed, match=r"probabilities differ by 0\.003"):
        with_dali._require_same([row(0.397, 0.3015, 0.3015)], expected)


def test_one_window_of_real_music_that_differs_fails(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("librosa")
    errors = [0.0, 0.31]
    monkeypatch.setattr(with_dali, "_apart", lambda *_: errors.pop() if errors else 0.0)
    with pytest.raises(CheckFailed, match=r"0\.310 dB apart"):
        with_dali.check_real_mel(bench)


def test_a_song_that_is_an_error_fails(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        [SongLabel("a.mp3")],
        [SongLabel("a.mp3")],
        [SongLabel("a.mp3"), SongLabel("b.mp3", error="torn")],
    ]
    monkeypatch.setattr(with_dali, "_labelled", lambda *_: (rows.pop(0), 1.0))
    with pytest.raises(CheckFailed, match="1 of 2 songs are errors"):
        with_dali.check_songs(bench)
