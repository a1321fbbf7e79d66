"""Labelling on this machine: rows in the order of the files, whatever the calls before and beside."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Hashable, Iterator
from contextlib import suppress
from multiprocessing import active_children
from pathlib import Path
from typing import Any, NoReturn, cast

import av
import numpy as np
import pytest
from audio_files import chirp, noise, write_audio
from gpu_on_cpu import SPEC
from http_folder import Answers, answered_by
from merkit.engine.arrays import Float32
from merkit.engine.artifact import Artifact, open_artifact
from merkit.engine.errors import DeviceError
from merkit.engine.labelling import local, worker_pool
from merkit.engine.labelling.contract import StageSeconds
from merkit.engine.labelling.file_windows import FileLogMels, WindowOptions, log_mels_from_file
from merkit.engine.labelling.local import FileByFile, LocalBackend, network_threads
from merkit.engine.labelling.result_queue import ResultQueue
from merkit.engine.labelling.song_label import SongLabel, probabilities_from_logits
from merkit.engine.runtimes import open_runtime
from merkit.engine.signals import StoppedAtOnce, StoppedError
from reading import labels_of


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("songs")
    paths = []
    for i, (suffix, seconds) in enumerate(
        [(".wav", 31), (".mp3", 12), (".flac", 3), (".m4a", 25), (".ogg", 40)]
    ):
        samples = chirp(seconds, 22_050) if i % 2 else noise(seconds, 22_050, i)
        paths.append(str(write_audio(folder / f"{i}{suffix}", samples, 22_050)))
    (folder / "bad.mp3").write_text("no song")
    return [*paths[:2], str(folder / "bad.mp3"), *paths[2:]]


def label(paths: list[str], model: Path, **options) -> list[SongLabel]:
    artifact = open_artifact(str(model))
    return labels_of(paths, artifact, WindowOptions(artifact.spec.audio, **options))


@pytest.mark.parametrize(("name", "most"), [("onnxruntime", 3), ("openvino", 3), ("tensorrt", 32)])
def test_a_cpu_gets_small_batches_since_large_ones_leave_its_caches(name: str, most: int) -> None:
    sizes = []

    class Counting:
        def __init__(self) -> None:
            self.name = name

        def infer(self, log_mels: Float32) -> Float32:
            sizes.append(len(log_mels))
            return log_mels[:, 0, 0]

    images = np.arange(70, dtype=np.float32).reshape(70, 1, 1, 1)
    file = FileLogMels(cast(Any, None), images)
    ((key, rows),) = FileByFile(cast(Any, Counting())).add("key", file)
    assert (key, rows[:, 0].tolist()) == ("key", list(range(70)))
    assert (max(sizes), sum(sizes)) == (most, 70)


def test_one_row_each_in_order(songs: list[str], tiny_model: Path) -> None:
    rows = label(songs * 3, tiny_model)
    assert [row.path for row in rows] == songs * 3
    assert [row.error is None for row in rows] == [True, True, False, True, True, True] * 3
    assert rows[:6] == rows[6:12] == rows[12:]  # neither company nor timing changes a row
    for row in rows:
        if row.error:
            assert row.emotion is row.confidence is None
            continue
        assert sum(row.probabilities) == pytest.approx(1, abs=1e-5)
        means = np.mean([p for _, p in row.windows if p], axis=0)
        np.testing.assert_allclose(row.probabilities, means, atol=2e-6)
        assert row.emotion == ("happy", "tense", "sad", "calm")[int(np.argmax(row.probabilities))]
        assert row.confidence == max(row.probabilities)
    assert [len(row.windows) for row in rows[:6]] == [3, 3, 0, 1, 3, 3]


def test_silence_is_no_error(tmp_path: Path, tiny_model: Path) -> None:
    silent = str(write_audio(tmp_path / "silent.wav", np.zeros(5 * 22_050, np.float32), 22_050))
    quiet = str(write_audio(tmp_path / "quiet.wav", 1e-4 * noise(5, 22_050, 0), 22_050))
    click = str(write_audio(tmp_path / "click.wav", np.eye(1, 5 * 22_050, 60_000, np.float32)[0], 22_050))
    for path in (silent, quiet, click):
        (row,) = label([path], tiny_model)
        assert row == SongLabel(path, duration_s=5.0, decoder=row.decoder, verdict="silence")
        assert row.decoder
    with av.open(tmp_path / "tagged.flac", "w") as file:
        file.metadata.update({"title": "4'33", "artist": "Cage", "album": "Silence"})
        stream = file.add_stream("flac", 16_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 32_000), np.int16), "s16", "mono")
        frame.sample_rate = 16_000
        file.mux([*stream.encode(frame), *stream.encode(None)])
    for options in ({}, {"windows": "all"}):
        (row,) = label([str(tmp_path / "tagged.flac")], tiny_model, **options)
        assert row.tags == {"title": "4'33", "artist": "Cage", "album": "Silence"}
        assert (row.duration_s, row.verdict, row.windows) == (2.0, "silence", ())


def test_the_timeline_is_the_windows(songs: list[str], tiny_model: Path) -> None:
    (row,) = label(songs[:1], tiny_model, windows="all", hop_s=5.0)
    assert [start for start, _ in row.windows] == [0, 5, 10, 15, 20, 21]
    artifact = open_artifact(str(tiny_model))
    file = log_mels_from_file(songs[0], WindowOptions(artifact.spec.audio, "all", 5.0))
    with open_runtime(artifact) as runtime:
        logits = runtime.infer(np.asarray(file.log_mels))
    np.testing.assert_allclose(
        [p for _, p in row.windows if p], probabilities_from_logits(logits, 1.0), atol=2e-6
    )
    assert row.duration_s == pytest.approx(31, abs=0.01)


def test_stopping_keeps_what_was_done(songs: list[str], tiny_model: Path) -> None:
    artifact = open_artifact(str(tiny_model))
    stop, stages, rows = threading.Event(), StageSeconds(), []
    many, options = songs * 50, WindowOptions(artifact.spec.audio)
    with LocalBackend(FileByFile(open_runtime(artifact, "null")), 2) as backend:
        for row in backend.label_files(many, artifact, options, stop, stages):
            rows.append(row)
            if len(rows) == 7:
                stop.set()
    assert 7 <= len(rows) < 40
    assert [row.path for row in rows] == many[: len(rows)]
    assert stages.decode > 0
    assert stages.mel > 0


OPTIONS = WindowOptions(SPEC.audio)


@pytest.fixture
def backend(artifact: Artifact) -> Iterator[LocalBackend]:
    with LocalBackend(FileByFile(open_runtime(artifact)), 2) as opened:
        yield opened


def test_calls_in_turns(backend: LocalBackend, artifact: Artifact, mixed_songs: list[str]) -> None:
    expected = labels_of(mixed_songs, artifact)
    forwards = backend.label_files(mixed_songs * 4, artifact, OPTIONS)
    backwards = backend.label_files(mixed_songs[::-1] * 4, artifact, OPTIONS)
    pairs = list(zip(forwards, backwards, strict=True))
    assert [first for first, _ in pairs] == expected * 4
    assert [second for _, second in pairs] == expected[::-1] * 4


def test_a_call_after_one_that_was_left(
    backend: LocalBackend, artifact: Artifact, mixed_songs: list[str]
) -> None:
    expected = labels_of(mixed_songs, artifact)
    left = backend.label_files(mixed_songs * 40, artifact, OPTIONS)
    assert next(left) == expected[0]
    assert list(backend.label_files(mixed_songs, artifact, OPTIONS)) == expected
    assert next(left) == expected[1]  # it was only not asked
    left.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert list(backend.label_files(mixed_songs[::-1], artifact, OPTIONS)) == expected[::-1]


def test_the_next_call_finds_the_children_ready(
    backend: LocalBackend, artifact: Artifact, mixed_songs: list[str]
) -> None:
    seconds = []
    for options in (OPTIONS, WindowOptions(SPEC.audio), WindowOptions(SPEC.audio, 1)):
        stages = StageSeconds()
        rows = list(backend.label_files(mixed_songs, artifact, options, stages=stages))
        assert {len(row.windows) for row in rows if row.error is None} <= {options.windows, 1}
        seconds.append(stages.start)
    assert seconds[0] > 0
    assert seconds[1] == 0
    assert seconds[2] > 0  # other options: other children


def test_the_next_call_reads_the_folder_that_the_process_is_in(
    backend: LocalBackend, artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child process keeps the working folder in which it was started."""
    for seconds in (3, 5):
        (tmp_path / f"{seconds}").mkdir()
        write_audio(tmp_path / f"{seconds}" / "a.wav", noise(seconds, 16_000, seconds), 16_000)
    children, are_new = set(active_children()), []
    for seconds in (3, 5, 5, 3):
        monkeypatch.chdir(tmp_path / f"{seconds}")
        (row,) = backend.label_files(["a.wav"], artifact, OPTIONS)
        assert (row.path, row.duration_s) == ("a.wav", seconds)
        before, children = children, set(active_children())
        are_new.append(children != before)
    assert are_new == [True, True, False, True]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows moves no folder that a process is in")
@pytest.mark.parametrize("becomes", ["is left", "is moved", "is renamed"])
def test_a_child_that_is_replaced_reads_the_folder_that_its_call_began_in(
    becomes: str, backend: LocalBackend, artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not another song of that name in the folder that the program is in, or that has its path, by then."""
    killed = threading.Event()

    def paths() -> Iterator[str]:
        while not killed.is_set():  # not a wait: the child with the first song may start last
            yield "a.wav"
        yield from ["a.wav"] * 20

    for folder, seconds in (("then", 3), ("now", 5)):
        (tmp_path / folder).mkdir()
        write_audio(tmp_path / folder / "a.wav", noise(seconds, 16_000, seconds), 16_000)
    monkeypatch.chdir(tmp_path / "then")
    labels = backend.label_files(paths(), artifact, OPTIONS)
    assert next(labels).duration_s == 3
    if becomes != "is renamed":
        monkeypatch.chdir(tmp_path / "now")
    if becomes != "is left":
        (tmp_path / "then").rename(tmp_path / "elsewhere")
    if becomes == "is renamed":
        (tmp_path / "now").rename(tmp_path / "then")
    for child in backend._in_use[0]._children:
        child.process.kill()
    killed.set()
    rows = [(row.error, row.duration_s) for row in labels]
    gone = {("no such file", None)} if becomes == "is moved" else set()
    assert gone <= set(rows) <= {(None, 3.0)} | gone


@pytest.mark.skipif(sys.platform == "win32", reason="Windows removes no folder that a process is in")
def test_whole_paths_are_read_where_the_working_folder_is_gone(
    backend: LocalBackend, artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(write_audio(tmp_path / "a.wav", noise(3, 16_000, 0), 16_000))
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    rows = list(backend.label_files([path], artifact, OPTIONS))
    (tmp_path / "gone").rmdir()
    assert list(backend.label_files([path], artifact, OPTIONS)) == rows


def test_stages_are_added_to(backend: LocalBackend, artifact: Artifact, mixed_songs: list[str]) -> None:
    stages = StageSeconds(start=100.0, decode=100.0, idle=100.0)
    list(backend.label_files(mixed_songs, artifact, OPTIONS, stages=stages))
    first = StageSeconds(**vars(stages))
    list(backend.label_files(mixed_songs, artifact, OPTIONS, stages=stages))
    assert 100 < first.start == stages.start
    assert 100 < first.decode < stages.decode
    assert 100 < first.idle < stages.idle


def test_a_closed_backend_says_so_and_leaves_no_child(artifact: Artifact, mixed_songs: list[str]) -> None:
    before = set(active_children())
    with LocalBackend(FileByFile(open_runtime(artifact)), 2) as backend:
        begun = backend.label_files(mixed_songs * 40, artifact, OPTIONS)
        late = backend.label_files(mixed_songs, artifact, OPTIONS)
        next(begun)
        other = backend.label_files(mixed_songs, artifact, OPTIONS)
        next(other)
        assert len(set(active_children()) - before) == 4
    assert set(active_children()) == before
    for labels in (begun, late, other, backend.label_files(mixed_songs, artifact, OPTIONS)):
        with pytest.raises(ValueError, match="closed"):
            list(labels)  # labels that were finished before may come first
    assert set(active_children()) == before


def test_a_second_ctrl_c_while_a_call_ends_costs_the_next_call_nothing(
    artifact: Artifact, mixed_songs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def close(queue: ResultQueue) -> NoReturn:
        monkeypatch.undo()
        queue.close()
        raise KeyboardInterrupt

    with LocalBackend(FileByFile(open_runtime(artifact)), 2) as backend:
        begun = backend.label_files(mixed_songs * 5, artifact, OPTIONS)
        expected = next(begun)
        monkeypatch.setattr(ResultQueue, "close", close)
        with pytest.raises(KeyboardInterrupt):
            begun.throw(KeyboardInterrupt)  # pyright: ignore[reportAttributeAccessIssue]
        assert next(backend.label_files(mixed_songs, artifact, OPTIONS)) == expected


def test_a_network_that_fails_ends_the_call(artifact: Artifact, mixed_songs: list[str]) -> None:
    class Failing(FileByFile):
        def add(self, key, file):
            raise DeviceError("the GPU is gone")

    with (
        LocalBackend(Failing(open_runtime(artifact)), 2) as backend,
        pytest.raises(DeviceError, match="the GPU is gone"),
    ):
        list(backend.label_files(mixed_songs, artifact, OPTIONS))


def test_half_as_many_threads_as_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "usable_cores", lambda: 12)
    assert [network_threads(workers) for workers in (1, 2, 3, 8)] == [1, 1, 1, 4]
    assert network_threads(64) == network_threads() == 6  # no more than keep 12 cores busy
    monkeypatch.undo()
    assert network_threads() >= 1


class _Signalled(FileByFile):
    """A network during whose third file a signal comes, which may end its computation."""

    def __init__(self, artifact: Artifact, stop: threading.Event, error: BaseException | None) -> None:
        super().__init__(open_runtime(artifact, "null"))
        self._stop, self._error, self._files = stop, error, 0

    def add(self, key, file):
        self._files += 1
        if self._files == 3:
            self._stop.set()
            if self._error:
                raise self._error
        yield from super().add(key, file)


def test_a_computation_that_a_signal_ends_keeps_the_rows_before_it(
    songs: list[str], tiny_model: Path
) -> None:
    artifact = open_artifact(str(tiny_model))
    options = WindowOptions(artifact.spec.audio)
    stop = threading.Event()
    with LocalBackend(_Signalled(artifact, stop, StoppedError(143)), 1) as backend:
        rows = list(backend.label_files(songs[3:] * 5, artifact, options, stop))
    assert [row.path for row in rows] == songs[3:5]
    assert not any(row.error for row in rows)
    network = _Signalled(artifact, stop, StoppedError(143))
    with LocalBackend(network, 1) as backend, pytest.raises(StoppedError):  # by another's stop
        list(backend.label_files(songs[3:] * 5, artifact, options))


@pytest.mark.parametrize("at_once", [False, True])
def test_labels_behind_a_file_that_hangs_are_kept(
    at_once: bool, songs: list[str], tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(worker_pool, "_STOP_S", 1.0)
    artifact, stop, rows = open_artifact(str(tiny_model)), threading.Event(), []
    network = _Signalled(artifact, stop, StoppedAtOnce(130) if at_once else None)
    began, paths = time.monotonic(), songs[3:] * 3
    with answered_by(Answers) as root, LocalBackend(network, 2) as backend, suppress(StoppedAtOnce):
        paths = [f"{root}/silent", *paths]
        for row in backend.label_files(paths, artifact, WindowOptions(artifact.spec.audio), stop):
            rows += [row]
    assert time.monotonic() - began < 20
    assert len(rows) == 2 if at_once else len(rows) > 2
    others = [
        path for position, path in enumerate(paths) if position not in (0, 2, 4)
    ]  # which the hung one has
    assert [row.path for row in rows] == others[: len(rows)]


def test_a_network_that_another_thread_closed_is_not_called_broken(
    artifact: Artifact, mixed_songs: list[str]
) -> None:
    class Closed(FileByFile):
        def add(self, key: Hashable, file: Any) -> Iterator[tuple[Any, Float32]]:
            backend.close()
            return super().add(key, file)

    backend = LocalBackend(Closed(open_runtime(artifact)), 1)
    with pytest.raises(ValueError, match="the backend is closed"):
        list(backend.label_files(mixed_songs, artifact, OPTIONS))
