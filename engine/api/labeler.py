"""The public API: labels one file, many files, or samples in memory."""

from __future__ import annotations

import atexit
import ctypes
import math
import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, suppress
from numbers import Integral, Real
from typing import Any, get_args
from weakref import WeakSet

import numpy.typing as npt
from merkit.engine.artifact import DEFAULT_MODEL, open_artifact
from merkit.engine.audio.samples import SampleDecoder
from merkit.engine.audio.spread import MOST_WINDOWS
from merkit.engine.audio.windows import WindowCount
from merkit.engine.closing import ClosedByWith
from merkit.engine.cpu import MOST_WORKERS
from merkit.engine.errors import AudioError, SilentError, UsageError
from merkit.engine.labelling.choose import Device, open_backend
from merkit.engine.labelling.contract import LabelBackend
from merkit.engine.labelling.file_windows import (
    FileLogMels,
    WindowOptions,
    log_mels_from_decoder,
    log_mels_from_file,
)
from merkit.engine.labelling.local import FileByFile, network_threads
from merkit.engine.labelling.shared_network import SharedNetwork
from merkit.engine.labelling.song_label import SongLabel, label_from_logits, label_of_silence
from merkit.engine.runtimes import name_of_runtime, open_runtime

_LONGEST_HOP_S = 1_000_000.0

StrPath = str | os.PathLike[str]
SongPath = StrPath | bytes
"""As Python's own functions take paths; bytes are decoded by ``os.fsdecode``."""


def label(path: SongPath, model: StrPath = DEFAULT_MODEL) -> SongLabel:
    """The emotion that one song carries. For more than one song, ``Labeler`` opens the model only once.

    Examples:
        >>> import merkit
        >>> song = merkit.label("song.mp3", "mobilenetv3")
        >>> song.emotion in ("happy", "tense", "sad", "calm")
        True
        >>> song.confidence == max(song.probabilities)
        True

    Args:
        path: a local file, or a URL that fsspec reads.
        model: a bundled model's name, or the path of an .onnx or .engine file or of a training's folder.

    Raises:
        UsageError: an unknown model.
        ArtifactError: a model file that cannot be used.
        AudioError: the file gives no usable audio. Silence is no error, but a verdict.
    """
    with Labeler(model) as labeler:
        return labeler.label(path)


class Labeler(ClosedByWith):
    """One model, opened once, for many songs; a context manager.

    It can be copied and pickled, which takes the model's file along, and is then opened anew.
    A process that is forked from this one, as by ``multiprocessing`` on Linux, may use it too: it opens the
    model again, and has child processes of its own. It cannot run engines where this process has used a GPU:
    CUDA works in no fork.
    Threads may share one, but ``label_files`` on a GPU belongs to one thread.

    Examples:
        >>> import merkit, numpy
        >>> with merkit.Labeler("mobilenetv3", windows="all") as labeler:
        ...     song = labeler.label("song.mp3")
        ...     songs = list(labeler.label_files(["song.mp3", "missing.mp3"]))
        ...     tone = labeler.label_samples(0.1 * numpy.sin(numpy.arange(480_000)), 48_000)
        >>> labeler.labels
        ('happy', 'tense', 'sad', 'calm')
        >>> song.emotion in labeler.labels, round(sum(song.probabilities), 3)
        (True, 1.0)
        >>> songs[0].emotion == song.emotion, songs[1].error
        (True, 'no such file')
        >>> tone.duration_s
        10.0

    Args:
        model: a bundled model's name, or the path of an .onnx or .engine file or of a training's folder.
        windows: the number of evenly spread windows of a song, 100,000 at most, or "all".
        hop_s: with "all", the seconds from one window to the next, 1,000,000 at most; by default a
            window's length.
        runtime: "onnxruntime", "openvino", "openvino-bf16", "tensorrt", "onnxruntime_rtx" or "null"; by
            default ("auto") the best one for the file on this machine, by a table of measurements.
        device: for ``label_files``; "auto" uses a GPU for an engine where there is one.
        workers: child processes of ``label_files``, at most 1,024; 0 is one a core.
        min_confidence: songs whose best label is less probable are "unsure"; by default the model's own.

    Raises:
        UsageError: an unknown model, runtime or device, or ``windows``, ``hop_s``, ``workers`` or
            ``min_confidence`` that are no such numbers; ``hop_s`` without "all".
        ArtifactError: a model file that cannot be used.
    """

    def __init__(
        self,
        model: StrPath = DEFAULT_MODEL,
        windows: WindowCount = 3,
        hop_s: float | None = None,
        runtime: str | None = None,
        device: Device = "auto",
        workers: int = 0,
        min_confidence: float | None = None,
    ) -> None:
        windows, hop_s, workers, min_confidence = _checked(windows, hop_s, device, workers, min_confidence)
        self._artifact = open_artifact(os.fspath(model))
        name_of_runtime(self._artifact, runtime)  # an unknown one is refused here, not at the first song
        self._options = WindowOptions(
            self._artifact.spec.audio, windows, hop_s, min_confidence=min_confidence
        )
        self._runtime, self._workers = runtime, workers
        self._device: Device = device
        self._open_nothing()

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of ``SongLabel.probabilities``."""
        return self._artifact.spec.labels

    def label(self, path: SongPath) -> SongLabel:
        """Labels one file, or a URL that fsspec reads, in this process.

        Use ``label_files`` for files that you do not trust: there a decoder that crashes ends a child process
        only.

        Raises:
            AudioError: the file gives no usable audio. Silence is no error, but a verdict.
            MerError: the runtime's package, or what a URL needs, is not installed; a device fails.
        """
        name = os.fsdecode(path)
        return self._label(name, lambda: log_mels_from_file(name, self._options))

    def label_files(self, paths: Iterable[SongPath]) -> Iterator[SongLabel]:
        """Yields a label for each file, in order. A file that cannot be labelled has ``SongLabel.error`` set.

        Paths are taken some files ahead, in another thread: make a list first of what is of one thread, such
        as a cursor of sqlite3. An iterator that waits for a path, as one of a queue does, holds up the labels
        of the paths before it. Where the labels are left meanwhile, as by Ctrl-C, that takes up to two
        seconds more, and the iterator's next path is lost. Give such paths one by one to ``label``.
        Relative ones are of the folder that the process is in when the first label is asked for.

        Child processes read files ahead, so a script in a file needs ``if __name__ == "__main__":``, as for
        every process pool. A notebook or a script on stdin needs nothing. The processes of
        ``multiprocessing.Pool`` may have no children: use ``concurrent.futures.ProcessPoolExecutor`` there.

        Raises:
            UsageError: one path in the place of a list.
            MerError: an error that concerns more than one file, such as a GPU that fails; labels that were
                asked for before this process was forked.
            ValueError: the labeler was closed while labels were awaited, as for a file.
        """
        if isinstance(paths, str | bytes | os.PathLike):  # the characters of one would be paths too
            raise UsageError("label_files takes a list of paths; label(path) takes one")
        _opened.add(self)  # before the lock, which a forked child must then renew
        with self._lock:
            if self._backend is None:
                self._backend = open_backend(self._artifact, self._runtime, self._device, self._workers)
            backend = self._backend
        names = (os.fsdecode(path) for path in paths)
        labels = backend.label_files(names, self._artifact, self._options)
        if isinstance(labels, Generator):
            _begun.add(labels)
        return labels

    def label_samples(self, samples: npt.ArrayLike, sample_rate: int) -> SongLabel:
        """Labels sound in memory; ``SongLabel.path`` is empty.

        Args:
            samples: ``[samples]`` or ``[samples, channels]``; floats in -1..1, signed integers of any width,
                or uint8.
            sample_rate: in Hz; it need not be the model's.

        Raises:
            AudioError: too short, samples in its windows that are not finite or far beyond full scale, or
                integers of a narrower type than theirs. Silence is no error, but a verdict.
            ValueError: another shape or type, or a sample rate that is no whole number from 1 to 1,000,000.
        """
        decoder = SampleDecoder(samples, sample_rate)
        return self._label("", lambda: log_mels_from_decoder(decoder, self._options))

    def close(self) -> None:
        """Closes the network and ends the child processes. The next call opens them again.

        Songs that other threads label meanwhile get their labels, those of ``label_files`` do not.
        """
        _opened.add(self)  # as in label_files
        with self._lock:
            network, backend = self._network, self._backend
            self._network = self._backend = None
        with ExitStack() as stack:  # the one, though the other fails
            if network is not None:
                stack.callback(network.close)
            if backend is not None:
                stack.callback(backend.close)

    def _forget(self) -> None:
        """In a forked child: leaves what is open to the parent, whose child processes work for it."""
        # Never freed: runtimes then wait for their threads, of which a fork copies none, or crash.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object((self._network, self._backend)))
        self._open_nothing()  # with a lock of its own: a thread that is not here may hold the parent's

    def _open_nothing(self) -> None:
        self._lock = threading.RLock()  # of what is open; a signal's handler may close it at any place
        self._network: SharedNetwork | None = None
        self._backend: LabelBackend | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without what is open: a copy, in this process or in another one, opens the model for itself."""
        return {**vars(self), "_lock": None, "_network": None, "_backend": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open_nothing()

    def _label(self, path: str, read: Callable[[], FileLogMels]) -> SongLabel:
        try:
            file = read()
        except SilentError as error:
            return label_of_silence(path, getattr(error, "facts", None))
        _opened.add(self)  # as above
        with ExitStack() as stack:
            with self._lock:
                if self._network is None:
                    # Left to itself, a runtime counts the machine's cores, and not those of a container.
                    runtime = open_runtime(self._artifact, self._runtime, network_threads())
                    self._network = SharedNetwork(FileByFile(runtime))
                network = stack.enter_context(self._network.used())
            ((_, logits),) = network.add(0, file)
        song = label_from_logits(path, file.facts, logits, self._artifact.spec, self._options.min_confidence)
        if song.error:
            raise AudioError(song.error)
        return song


_opened: WeakSet[Labeler] = WeakSet()
_begun: WeakSet[Generator[SongLabel, None, None]] = WeakSet()


def _forget_the_parents() -> None:
    for labeler in list(_opened):
        labeler._forget()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget_the_parents)


@atexit.register
def _close_begun() -> None:
    """Closes generators that were left: later, modules that they need are gone."""
    for labels in list(_begun):
        with suppress(ValueError):  # another thread is in it
            labels.close()


def _checked(
    windows: object, hop_s: object, device: object, workers: object, min_confidence: object
) -> tuple[WindowCount, float | None, int, float | None]:
    """The numbers as Python's own."""
    count, step = _number(windows, Integral), _number(hop_s, Real)
    if windows != "all" and not count >= 1:
        raise UsageError(f'windows must be a whole number above 0 or "all", not {windows!r}')
    if count > MOST_WINDOWS:
        raise UsageError(f'windows must be at most {MOST_WINDOWS:,}, or "all"')
    if hop_s is not None and not 0 < step <= _LONGEST_HOP_S:
        raise UsageError(f"hop_s must be seconds above 0, at most {_LONGEST_HOP_S:,.0f}, not {hop_s!r}")
    if hop_s is not None and windows != "all":
        raise UsageError('hop_s goes with windows="all"')
    if device not in get_args(Device):
        raise UsageError(f"device must be one of {', '.join(get_args(Device))}, not {device!r}")
    processes, least = _number(workers, Integral), _number(min_confidence, Real)
    if not 0 <= processes <= MOST_WORKERS:
        raise UsageError(
            f"workers must be a whole number to {MOST_WORKERS:,}, 0 for one a core, not {workers!r}"
        )
    if min_confidence is not None and not 0 <= least <= 1:
        raise UsageError(f"min_confidence must be from 0 to 1, not {min_confidence!r}")
    return (
        "all" if windows == "all" else count,
        None if hop_s is None else step,
        processes,
        None if min_confidence is None else least,
    )


def _number(value: Any, kind: type) -> Any:
    """A number of Python or NumPy. What is none, and ``True``, is NaN: it compares false with all."""
    if isinstance(value, kind) and not isinstance(value, bool):
        with suppress(OverflowError):  # a whole number beyond those of floats
            return int(value) if kind is Integral else float(value)
    return math.nan
