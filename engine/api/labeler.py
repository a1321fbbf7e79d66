"""The public API: one file, many files, or samples in memory in; labels out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Self

import numpy.typing as npt
from merkit.engine.artifact import DEFAULT_MODEL, open_artifact
from merkit.engine.audio.samples import SampleDecoder
from merkit.engine.audio.windows import WindowCount
from merkit.engine.errors import AudioError
from merkit.engine.labelling.choose import Device, open_backend
from merkit.engine.labelling.contract import LabelBackend
from merkit.engine.labelling.file_windows import (
    FileLogMels,
    WindowOptions,
    log_mels_from_decoder,
    log_mels_from_file,
)
from merkit.engine.labelling.local import FileByFile
from merkit.engine.labelling.song_label import SongLabel, label_from_logits
from merkit.engine.runtimes import open_runtime

Path = str | os.PathLike[str]


def label(path: Path, model: str = DEFAULT_MODEL) -> SongLabel:
    """What emotion a song carries; see ``Labeler.label``.

    >>> import merkit
    >>> song = merkit.label("song.mp3")
    >>> song.emotion
    'calm'
    """
    with Labeler(model) as labeler:
        return labeler.label(path)


class Labeler:
    """One model, opened once, for many songs; a context manager.

    >>> import merkit
    >>> with merkit.Labeler("mobilenetv3") as labeler:
    ...     song = labeler.label("song.mp3")
    ...     same = labeler.label_samples(0.1 * numpy.sin(numpy.arange(480_000)), 48_000)
    >>> labeler.labels
    ('happy', 'tense', 'sad', 'calm')
    >>> song.emotion in labeler.labels
    True
    >>> round(sum(song.probabilities), 3), same.duration_s
    (1.0, 10.0)

    Args:
        model: the name of a bundled model, or the path of an .onnx or .engine file.
        windows: windows a song, evenly spread, or "all".
        hop_s: with "all", the seconds from one window to the next; default: a window's length.
        runtime: "onnxruntime", "openvino", "tensorrt" or "null"; by default what the file's suffix says.
        device: of ``label_files``; "auto" takes a GPU for an engine where there is one.
        workers: child processes of ``label_files``; 0 is one a core.

    Raises:
        UsageError: an unknown model or runtime.
        ArtifactError: a model file that cannot be used.
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        windows: WindowCount = 3,
        hop_s: float | None = None,
        runtime: str | None = None,
        device: Device = "auto",
        workers: int = 0,
    ) -> None:
        self._artifact = open_artifact(os.fspath(model))
        self._options = WindowOptions(self._artifact.spec.audio, windows, hop_s)
        self._runtime, self._device, self._workers = runtime, device, workers
        self._stack = ExitStack()
        self._network: FileByFile | None = None
        self._backend: LabelBackend | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that ``probabilities`` are of, in their order."""
        return self._artifact.spec.labels

    def label(self, path: Path) -> SongLabel:
        """Labels one file, or URL, in this process: a three-line script needs nothing else.

        Files that you do not trust go to ``label_files``: a decoder that crashes ends only a child there.

        Raises:
            AudioError: the file gives no usable audio.
        """
        name = os.fspath(path)
        return self._label(name, log_mels_from_file(name, self._options))

    def label_files(self, paths: Iterable[Path]) -> Iterator[SongLabel]:
        """Labels files in their order, read ahead by child processes; a bad file has its ``error`` set.

        A script that calls this needs ``if __name__ == "__main__":``, as with every process pool.

        Raises:
            MerError: what concerns more than one file, such as a GPU that fails.
        """
        if self._backend is None:
            backend = open_backend(self._artifact, self._runtime, self._device, self._workers)
            self._backend = self._stack.enter_context(backend)
        return self._backend.label_files(map(os.fspath, paths), self._artifact, self._options)

    def label_samples(self, samples: npt.ArrayLike, sample_rate: int) -> SongLabel:
        """Labels sound in memory.

        Args:
            samples: ``[samples]`` or ``[samples, channels]``; floats in -1..1, or integers of any width.
            sample_rate: in Hz; another than the model's is resampled.

        Raises:
            AudioError: too short, silent, or samples that are not finite.
            ValueError: another shape or type, or a sample rate that is not above 0.
        """
        decoder = SampleDecoder(samples, sample_rate)
        return self._label("", log_mels_from_decoder(decoder, self._options))

    def close(self) -> None:
        """Ends the network and the child processes."""
        self._stack.close()
        self._network = self._backend = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _label(self, path: str, file: FileLogMels) -> SongLabel:
        if self._network is None:
            runtime = self._stack.enter_context(open_runtime(self._artifact, self._runtime))
            self._network = FileByFile(runtime)
        ((_, logits),) = self._network.add(0, file)
        made = label_from_logits(path, file.facts, logits, self._artifact.spec)
        if made.error:
            raise AudioError(made.error)
        return made
