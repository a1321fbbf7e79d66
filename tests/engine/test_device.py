"""Labelling by way of DALI and batches that cross files, on DALI's CPU backend and ONNX Runtime."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mer.engine.device as device_module
import mer.engine.labeler as labeler_module
import numpy as np
import pytest
from audio_files import chirp, noise, write_audio
from click.testing import CliRunner
from engine_files import engine, write_engine
from mer.engine.artifact import Artifact, open_artifact
from mer.engine.cli import main
from mer.engine.dali import DaliImages
from mer.engine.device import DeviceNetwork, open_device, open_for_device
from mer.engine.errors import DeviceError, DeviceMemoryError, UsageError
from mer.engine.gpus import GpuProcesses
from mer.engine.images import ImageOptions, samples_from_file
from mer.engine.labeler import SongLabel, label_files
from mer.engine.runtimes import open_runtime
from mer.engine.spec import AudioSpec, ModelSpec
from onnx_files import tiny_onnx

pytest.importorskip("nvidia.dali", reason="DALI runs on Linux only")

SPEC = ModelSpec(
    "tiny",
    ("happy", "tense", "sad", "calm"),
    AudioSpec(window_samples=16_000, frames=32, n_mels=32, n_fft=1_024),
)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    path = tmp_path / "small.onnx"
    path.write_bytes(tiny_onnx(SPEC).SerializeToString())
    return open_artifact(str(path))


@pytest.fixture
def songs(tmp_path: Path) -> list[str]:
    paths = []
    for at, suffix in enumerate([".wav", ".flac", ".mp3", ".ogg", ".wav", ".m4a"]):
        signal_ = chirp(2 + at, 22_050) if at % 2 else noise(2 + at, 22_050, at)
        paths.append(str(write_audio(tmp_path / f"{at}{suffix}", signal_, 22_050)))
    for name, content in (("bad.mp3", b"no song"), ("empty.wav", b"")):
        (tmp_path / name).write_bytes(content)
        paths.insert(2, str(tmp_path / name))
    return [*paths, str(tmp_path / "missing.mp3")]


def on_cpu(artifact: Artifact, number: int = 0, batch: int | None = None) -> DeviceNetwork:
    """What ``open_device`` opens, without a GPU."""
    runtime = open_runtime(artifact, "onnxruntime", 1)
    network = DeviceNetwork(runtime, lambda size: DaliImages(artifact.spec.audio, size, "cpu"))
    network.batch = batch or network.batch
    return network


def labels(
    paths: list[str],
    artifact: Artifact,
    batch: int | None = None,
    stop: threading.Event | None = None,
    **made: Any,
) -> list[SongLabel]:
    with on_cpu(artifact, batch=batch) as network:
        return list(label_files(paths, artifact, network, ImageOptions(SPEC.audio, **made), 2, stop))


def by_reference(paths: list[str], artifact: Artifact, **made: Any) -> list[SongLabel]:
    with open_runtime(artifact) as runtime:
        return list(label_files(paths, artifact, runtime, ImageOptions(SPEC.audio, **made), 2))


def assert_close(found: list[SongLabel], wanted: list[SongLabel]) -> None:
    assert [row.path for row in found] == [row.path for row in wanted]
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours.error, ours.emotion, ours.duration_s) == (
            theirs.error,
            theirs.emotion,
            theirs.duration_s,
        )
        assert [start for start, _ in ours.windows] == [start for start, _ in theirs.windows]
        for (_, p), (_, q) in zip(ours.windows, theirs.windows, strict=True):
            np.testing.assert_allclose(p, q, atol=1e-4)
        np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-4)


@pytest.mark.parametrize("batch", [1, 3, 32])
def test_rows_equal_the_cpus_whatever_their_company(songs: list[str], artifact: Artifact, batch: int) -> None:
    assert_close(labels(songs * 2, artifact, batch), by_reference(songs * 2, artifact))


def test_many_windows_and_stopping(songs: list[str], artifact: Artifact) -> None:
    assert_close(
        labels(songs[:2], artifact, 4, windows="all", hop_s=0.2),
        by_reference(songs[:2], artifact, windows="all", hop_s=0.2),
    )
    stop = threading.Event()
    stop.set()
    assert labels(songs, artifact, stop=stop) == []


def test_a_file_that_waits_for_a_full_batch_is_not_waited_for(
    songs: list[str], artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One good file, then only bad ones: its windows never fill a batch, and all rows wait for its row."""
    monkeypatch.setattr(labeler_module, "_AHEAD", 6)
    bad = [path for path in songs if "bad" in path]
    rows = labels([songs[0], *bad * 40, songs[1]], artifact, 32)
    assert [row.error is None for row in rows] == [True, *[False] * 40, True]


def test_dali_out_of_memory_halves_the_batch(
    songs: list[str], artifact: Artifact, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether it fails when it begins or when it ends, no window is lost."""

    class Small(DaliImages):
        def put(self, audio: np.ndarray) -> None:
            if len(audio) > 4:
                raise DeviceMemoryError("no room to begin")
            super().put(audio)

        def take(self, stream: int | None = None) -> Any:
            images = super().take(stream)
            if len(images) > 2:
                raise DeviceMemoryError("no room to end")
            return images

    wanted = by_reference(songs, artifact)
    runtime = open_runtime(artifact, "onnxruntime", 1)
    with DeviceNetwork(runtime, lambda size: Small(SPEC.audio, size, "cpu")) as network:
        found = list(label_files(songs, artifact, network, ImageOptions(SPEC.audio), 2))
        assert network.batch == 2
    assert_close(found, wanted)
    assert [record.getMessage() for record in caplog.records] == [
        "no room to begin: batches of 16 windows from here on",
        "no room to begin: batches of 8 windows from here on",
        "no room to begin: batches of 4 windows from here on",
        "no room to end: batches of 2 windows from here on",
    ]

    class None_(DaliImages):
        def put(self, audio: np.ndarray) -> None:
            raise DeviceMemoryError("no room at all")

    network = DeviceNetwork(open_runtime(artifact), lambda size: None_(SPEC.audio, size, "cpu"))
    with network, pytest.raises(DeviceMemoryError, match="at all"):
        list(network.add(0, np.zeros((64, SPEC.audio.window_samples), np.float32)))


def test_samples_too_loud_for_float32_are_an_error(tmp_path: Path, artifact: Artifact) -> None:
    import soundfile

    loud = np.full(48_000, 1e25, np.float32)
    path = tmp_path / "loud.wav"
    soundfile.write(path, loud, 16_000, "FLOAT")
    (row,) = labels([str(path)], artifact)
    (wanted,) = by_reference([str(path)], artifact)
    assert row.error == wanted.error == "holds samples so large that their power overflows"


def test_dalis_decoder_in_the_pool(tmp_path: Path, songs: list[str], artifact: Artifact) -> None:
    whole = str(write_audio(tmp_path / "right.flac", noise(5, 16_000), 16_000))
    rows = labels([whole, *songs], artifact, windows="all", decoder="dali")
    assert_close(rows[:1], by_reference([whole], artifact, windows="all"))
    assert (rows[0].decoder or "").startswith("dali ")
    assert all(row.error for row in rows[1:])
    assert "DALI's resampler aliases" in str(rows[1].error)


def crash_on_right(path: str, options: ImageOptions) -> Any:
    if "2.mp3" in path:
        os.kill(os.getpid(), signal.SIGSEGV)
    return samples_from_file(path, options)


def test_a_decoder_that_dies_costs_its_file(
    songs: list[str], artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labeler_module, "samples_from_file", crash_on_right)
    found = labels(songs, artifact)
    assert [row.error for row in found if "2.mp3" in row.path] == ["the decoder crashed (SIGSEGV)"]
    wanted = by_reference(songs, artifact)
    for ours, theirs in zip(found, wanted, strict=True):
        if "2.mp3" not in ours.path:
            assert_close([ours], [theirs])


def dying(artifact: Artifact, number: int) -> DeviceNetwork:
    """The second GPU's process ends after some batches, as a driver's fault would end it."""
    network = on_cpu(artifact, number, 4)
    if number == 1:
        add = network.add

        def counted(position: int, samples: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
            if position == 9:
                os._exit(11)
            return add(position, samples)

        network.add = counted  # pyright: ignore[reportAttributeAccessIssue]
    return network


def dying_all(artifact: Artifact, number: int) -> DeviceNetwork:
    os._exit(3)


def missing(artifact: Artifact, number: int) -> DeviceNetwork:
    raise DeviceError(f"no GPU number {number}")


@pytest.mark.parametrize("opening", [on_cpu, dying])
def test_several_gpus_label_as_one_does(songs: list[str], artifact: Artifact, opening: Any) -> None:
    many = songs * 20
    wanted = by_reference(songs, artifact) * 20
    with GpuProcesses(2, "onnxruntime", 2, opening) as processes:
        found = list(processes.label_files(many, artifact, ImageOptions(SPEC.audio)))
    assert_close(found, wanted)


def test_several_gpus_that_fail(songs: list[str], artifact: Artifact) -> None:
    for opening, why in ((dying_all, "last process that had a GPU died"), (missing, "no GPU number")):
        with GpuProcesses(2, "tensorrt", 2, opening) as processes, pytest.raises(DeviceError, match=why):
            list(processes.label_files(songs * 20, artifact, ImageOptions(SPEC.audio)))


def test_several_gpus_stop(songs: list[str], artifact: Artifact) -> None:
    stop, rows = threading.Event(), []
    with GpuProcesses(2, "onnxruntime", 2, on_cpu) as processes:
        for row in processes.label_files(songs * 100, artifact, ImageOptions(SPEC.audio), stop):
            rows.append(row)
            stop.set()
    assert 1 <= len(rows) < 400
    assert [row.path for row in rows] == (songs * 100)[: len(rows)]


def test_what_device_says(tmp_path: Path, artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime, line = open_for_device(artifact, None, "auto")
    assert runtime.name == "onnxruntime"
    assert line == "device: cpu (small.onnx is no engine; mer-export makes one for a GPU)"
    with pytest.raises(UsageError, match=r"mer-export -m small --fp16 -o"):
        open_for_device(artifact, None, "cuda")
    with pytest.raises(UsageError, match="--gpus goes with --device cuda"):
        open_for_device(artifact, None, "auto", gpus=2)
    built = engine(tmp_path, SPEC)
    with pytest.raises(UsageError, match=r"give the \.onnx"):
        open_for_device(built, None, "cpu")
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(
        DeviceError, match=r"no device for tiny\.engine: not cuda, since tensorrt is not inst"
    ):
        open_for_device(built, None, "auto")
    with pytest.raises(DeviceError, match="tensorrt is not installed"):
        open_device(built)
    monkeypatch.setattr(device_module, "find_spec", lambda name: None)
    with pytest.raises(DeviceError, match="DALI is not installed"):
        open_for_device(built, None, "cuda")
    null, line = open_for_device(built, "null", "auto")
    assert (null.name, line) == ("null", "device: cpu (null was asked for)")

    class Opened:
        name = "tensorrt"

    monkeypatch.setattr(device_module, "open_runtime", lambda *_, **__: Opened())
    found, line = open_for_device(built, None, "auto")
    assert isinstance(found, Opened)
    assert line.startswith("device: cuda for the network, cpu for the images (DALI is not installed")


def test_the_command_line(tmp_path: Path, songs: list[str], artifact: Artifact) -> None:
    def run(*arguments: str) -> Any:
        return CliRunner().invoke(main, [songs[0], *arguments])

    done = run("-m", str(artifact.path), "--windows", "all", "--decoder", "dali", "-j", "1")
    assert done.exit_code == 4
    assert "DALI's resampler aliases" in done.output
    assert "device: cpu (small.onnx is no engine" in done.output
    assert run("-m", str(artifact.path), "--decoder", "dali").exit_code == 2
    done = run("-m", str(artifact.path), "--device", "cuda")
    assert done.exit_code == 2
    assert "mer-export -m small --fp16" in done.output
    done = run("-m", str(write_engine(tmp_path, SPEC)), "--device", "cuda")
    assert done.exit_code == 1
    assert "Error: " in done.output
    assert "Traceback" not in done.output
