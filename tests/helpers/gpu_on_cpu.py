"""The GPU pipeline without a GPU: DALI's CPU backend and ONNX Runtime."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
from merkit.engine.artifact import Artifact
from merkit.engine.labelling.file_windows import FileFacts, FileSamples, WindowOptions, samples_from_file
from merkit.engine.labelling.gpu_pipeline import GpuPipeline
from merkit.engine.labelling.packed_samples import packed_from_samples, samples_from_packed
from merkit.engine.labelling.song_label import SongLabel
from merkit.engine.runtimes import DeviceArray, Pending, Runtime, open_runtime
from merkit.engine.spec import AudioSpec, ModelSpec
from merkit.engine.spectrogram.dali import DaliLogMel
from merkit.engine.spectrogram.log_mel import log_mel_from_audio
from reading import labels_of

SPEC = ModelSpec(
    "tiny",
    ("happy", "tense", "sad", "calm"),
    AudioSpec(window_samples=16_000, frames=32, n_mels=32, n_fft=1_024),
)


class OnCpu:
    """A ``DeviceRuntime`` without a GPU: another runtime, which computes at once."""

    gpu: Any = SimpleNamespace(name="no GPU", capability="0.0", driver="0.0")
    stream = 0

    def __init__(self, runtime: Runtime, batch: int = 32) -> None:
        self.name, self.batch, self._runtime = runtime.name, batch, runtime

    def infer(self, log_mels: np.ndarray) -> np.ndarray:
        return self._runtime.infer(log_mels)

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return np.zeros(shape, dtype)

    def submit(self, log_mels: np.ndarray | DeviceArray) -> Pending:
        return _Done(self._runtime.infer(np.asarray(log_mels)))

    def close(self) -> None:
        self._runtime.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Done:
    def __init__(self, logits: np.ndarray) -> None:
        self._logits = logits

    def result(self) -> np.ndarray:
        return self._logits


def on_cpu(artifact: Artifact, number: int = 0, batch: int = 32) -> GpuPipeline:
    """What ``open_gpu_pipeline`` opens, without a GPU."""
    runtime = OnCpu(open_runtime(artifact, "onnxruntime", 1), batch)
    audio = artifact.spec.audio
    return GpuPipeline(
        runtime,
        audio,
        lambda size: DaliLogMel(audio, size, "cpu", packed=True),
        open_anew=partial(on_cpu, artifact, number, batch),
    )


def packed(samples: np.ndarray) -> FileSamples:
    """A file of these windows, as a child process sends it."""
    pairs = [packed_from_samples(window) for window in samples]
    numbers, scales = zip(*pairs, strict=True)
    return FileSamples(FileFacts((), 0.0, "", {}), np.stack(numbers), np.asarray(scales, np.float32))


def by_pipeline(
    paths: list[str],
    artifact: Artifact,
    batch: int = 32,
    stop: threading.Event | None = None,
    **options: Any,
) -> list[SongLabel]:
    """Labels by ``on_cpu``."""
    network = on_cpu(artifact, batch=batch)
    return labels_of(paths, artifact, WindowOptions(SPEC.audio, **options), network=network, stop=stop)


def by_reference(paths: list[str], artifact: Artifact, **options: Any) -> list[SongLabel]:
    """Labels by NumPy's log-mels and ONNX Runtime, of the samples that a GPU would get."""
    network = _ByReference(artifact)
    return labels_of(paths, artifact, WindowOptions(SPEC.audio, **options), network=network)


class _ByReference:
    """A ``FileNetwork`` on the CPU that takes packed samples, a file at a time."""

    name = "onnxruntime"
    work = staticmethod(samples_from_file)

    def __init__(self, artifact: Artifact) -> None:
        self._runtime, self._audio = open_runtime(artifact), artifact.spec.audio

    def add(self, key: Hashable, file: FileSamples) -> Iterator[tuple[Any, np.ndarray]]:
        samples = samples_from_packed(np.asarray(file.samples), file.scales)
        yield key, self._runtime.infer(log_mel_from_audio(samples, self._audio))

    def flush(self) -> Iterator[tuple[Any, np.ndarray]]:
        return iter(())

    def mended(self) -> Self:
        return self

    def close(self) -> None:
        self._runtime.close()


def assert_close(rows: list[SongLabel], expected: list[SongLabel]) -> None:
    """The same rows, up to float32's rounding in DALI."""
    assert [row.path for row in rows] == [row.path for row in expected]
    for ours, theirs in zip(rows, expected, strict=True):
        assert (ours.error, ours.emotion, ours.duration_s) == (
            theirs.error,
            theirs.emotion,
            theirs.duration_s,
        )
        assert [start for start, _ in ours.windows] == [start for start, _ in theirs.windows]
        for (_, p), (_, q) in zip(ours.windows, theirs.windows, strict=True):
            assert (p is None) == (q is None)
            if p and q:
                np.testing.assert_allclose(p, q, atol=1e-4)
        np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-4)
