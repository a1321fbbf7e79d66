"""Files and backends, read to their end."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest
from merkit.engine.artifact import Artifact
from merkit.engine.audio.decoder import Budget, Limits
from merkit.engine.audio.open import open_decoder
from merkit.engine.audio.windows import Window, WindowCount, windows_from_decoder
from merkit.engine.errors import AudioError
from merkit.engine.labelling.contract import StageSeconds
from merkit.engine.labelling.file_windows import WindowOptions
from merkit.engine.labelling.local import FileByFile, FileNetwork, LocalBackend
from merkit.engine.labelling.song_label import SongLabel
from merkit.engine.runtimes import open_runtime
from merkit.engine.spec import AudioSpec


def windows_from_file(
    path: str | Path,
    spec: AudioSpec,
    windows: WindowCount = 3,
    hop_s: float | None = None,
    limits: Limits | None = None,
) -> list[Window]:
    """All of a file's windows at once."""
    budget = Budget(limits or Limits())
    with closing(open_decoder(path, budget)) as decoder:
        return list(windows_from_decoder(decoder, spec, windows, hop_s, budget))


def refusal(path: Path, spec: AudioSpec, **limits: float) -> str:
    """The reason why a file gives no windows: an AudioError of one line."""
    with pytest.raises(AudioError) as error:
        windows_from_file(path, spec, limits=Limits(**limits))  # pyright: ignore[reportArgumentType]
    assert "\n" not in str(error.value)
    return str(error.value)


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
        options = options or WindowOptions(artifact.spec.audio)
        return list(backend.label_files(paths, artifact, options, stop, stages))
