"""Files and backends read to their end, as tests want them."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import numpy as np
from merkit.engine.artifact import Artifact
from merkit.engine.audio.decoder import Limits
from merkit.engine.audio.open import open_decoder
from merkit.engine.audio.windows import Window, WindowCount, windows_from_decoder
from merkit.engine.labelling.contract import StageSeconds
from merkit.engine.labelling.file_windows import WindowOptions
from merkit.engine.labelling.local import FileByFile, FileNetwork, LocalBackend
from merkit.engine.labelling.song_label import SongLabel
from merkit.engine.runtimes import Pending, Runtime, open_runtime
from merkit.engine.spec import AudioSpec


def windows_from_file(
    path: str | Path,
    spec: AudioSpec,
    windows: WindowCount = 3,
    hop_s: float | None = None,
    limits: Limits | None = None,
) -> list[Window]:
    """All of a file's windows at once."""
    with closing(open_decoder(path, limits or Limits())) as decoder:
        return list(windows_from_decoder(decoder, spec, windows, hop_s))


def labels_of(
    paths: Iterable[str],
    artifact: Artifact,
    options: WindowOptions | None = None,
    runtime: str | None = None,
    network: FileNetwork | None = None,
    stop: threading.Event | None = None,
    stages: StageSeconds | None = None,
) -> list[SongLabel]:
    """All labels at once, by a runtime of this name or by a network, with two processes that decode."""
    network = network or FileByFile(open_runtime(artifact, runtime))
    with LocalBackend(network, 2) as backend:
        made = options or WindowOptions(artifact.spec.audio)
        return list(backend.label_files(paths, artifact, made, stop, stages))


class OnCpu:
    """A ``DeviceRuntime`` without a GPU: another runtime, which computes at once."""

    stream = 0

    def __init__(self, runtime: Runtime, batch: int = 32) -> None:
        self.name, self.batch, self._runtime = runtime.name, batch, runtime

    def infer(self, log_mels: np.ndarray) -> np.ndarray:
        return self._runtime.infer(log_mels)

    def submit(self, log_mels: np.ndarray) -> Pending:
        return _Done(self._runtime.infer(log_mels))

    def close(self) -> None:
        self._runtime.close()

    def __enter__(self) -> OnCpu:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Done:
    def __init__(self, logits: np.ndarray) -> None:
        self._logits = logits

    def result(self) -> np.ndarray:
        return self._logits
