"""The public API, as a script uses it."""

from __future__ import annotations

import copy
import doctest
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any

import merkit
import numpy as np
import onnxruntime
import pytest
import soundfile
from audio_files import noise, write_audio
from merkit.engine.errors import AudioError, UsageError
from merkit.engine.labelling.song_label import SongLabel

LABELS = ("happy", "tense", "sad", "calm")
MODEL = "mobilenetv3"
EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``song.mp3``, 25 s of music, and ``other.wav``, 12 s of noise at the model's rate."""
    folder = tmp_path_factory.mktemp("api")
    music, rate = soundfile.read(EXAMPLES / "slow_minor.ogg", dtype="float32")
    song = np.asarray(np.resize(music, (25 * rate, *music.shape[1:])), np.float32)
    write_audio(folder / "song.mp3", song, rate)
    write_audio(folder / "other.wav", noise(12, 16_000, 1), 16_000)
    return folder


@pytest.fixture(scope="module")
def labeler() -> Iterator[merkit.Labeler]:
    with merkit.Labeler(MODEL) as labeler:
        yield labeler


def python(folder: Path, code: str) -> str:
    """What a script prints, run in a folder that does not hold the package."""
    (folder / "script.py").write_text(code)
    done = subprocess.run([sys.executable, "script.py"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def without_names(label: SongLabel) -> SongLabel:
    """The label without what the kind of input decides."""
    return replace(label, path="", decoder=None, tags={})


def test_importing_it_loads_no_library(tmp_path: Path) -> None:
    code = (
        "import sys, merkit\n"
        "assert merkit.__version__ and 'Labeler' in dir(merkit)\n"
        "print(*{name.partition('.')[0] for name in sys.modules})\n"
    )
    imported = set(python(tmp_path, code).split())
    assert "merkit" in imported
    heavy = "numpy onnx onnxruntime av soundfile soxr pyarrow click rich"
    assert not imported & set(heavy.split())


def test_names() -> None:
    assert set(merkit.__all__) <= set(dir(merkit))
    assert all(getattr(merkit, name) for name in merkit.__all__)
    with pytest.raises(AttributeError, match="'merkit' has no attribute 'labels'"):
        _ = merkit.labels  # pyright: ignore[reportAttributeAccessIssue]


def test_the_examples_in_its_documentation(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import merkit.labeler

    monkeypatch.chdir(folder)
    tested = doctest.testmod(merkit.labeler, verbose=False)
    assert tested.attempted >= 8
    assert not tested.failed


def test_three_lines_without_a_main_guard(folder: Path) -> None:
    printed = python(folder, 'import merkit\n\nprint(merkit.label("other.wav").verdict)\n')
    assert printed.strip() == "not_music"  # it is noise


def test_one_file_and_many(folder: Path, labeler: merkit.Labeler) -> None:
    song = labeler.label(folder / "song.mp3")
    assert merkit.label(str(folder / "song.mp3"), MODEL) == song
    assert labeler.labels == LABELS
    assert song.emotion == LABELS[int(np.argmax(song.probabilities))]
    assert song.duration_s == pytest.approx(25, abs=0.1)
    assert len(song.windows) == 3
    with merkit.Labeler(MODEL, workers=1) as other:
        paths = [folder / "song.mp3", folder / "missing.mp3", str(folder / "other.wav")]
        first, missing, last = other.label_files(iter(paths))
        assert (first.emotion, first.path) == (song.emotion, song.path)
        assert first.probabilities == pytest.approx(song.probabilities, abs=1e-5)
        assert (missing.error, missing.emotion) == ("no such file", None)
        assert last.path == str(folder / "other.wav")
        # The child processes outlive a call.
        assert list(other.label_files([folder / "song.mp3"])) == [first]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows removes no folder that a process is in")
def test_an_absolute_path_needs_no_working_folder(folder: Path) -> None:
    """The one of a service may have been removed, as by a deployment."""
    code = (
        "import os, tempfile, merkit\n\n"
        "with tempfile.TemporaryDirectory() as gone:\n"
        "    os.chdir(gone)\n"
        f"print(merkit.label({str(folder / 'other.wav')!r}).verdict)\n"
    )
    assert python(folder, code).strip() == "not_music"


def test_paths_as_bytes(folder: Path, labeler: merkit.Labeler) -> None:
    song = labeler.label(folder / "other.wav")
    assert labeler.label(bytes(folder / "other.wav")) == song
    with merkit.Labeler(MODEL, workers=1) as other:
        paths = [bytes(folder / "missing.mp3"), bytes(folder / "other.wav")]
        missing, last = other.label_files(paths)
    assert (missing.path, missing.error) == (str(folder / "missing.mp3"), "no such file")
    assert (last.path, last.verdict) == (song.path, song.verdict)


def test_one_path_is_no_list_of_paths(labeler: merkit.Labeler) -> None:
    """The characters of a string were taken for files."""
    one: Any
    for one in ("song.mp3", b"song.mp3", Path("song.mp3")):
        with pytest.raises(UsageError, match=r"label_files takes a list of paths; label\(path\) takes one"):
            labeler.label_files(one)


def test_many_files_in_a_script_with_a_main_guard(folder: Path) -> None:
    code = (
        "import merkit\n\n"
        'if __name__ == "__main__":\n'
        f'    with merkit.Labeler("{MODEL}", workers=1) as labeler:\n'
        '        for song in labeler.label_files(["song.mp3", "missing.mp3"]):\n'
        "            print(song.emotion, song.error, sep=':')\n"
    )
    first, missing = python(folder, code).splitlines()
    assert first.partition(":")[0] in LABELS
    assert missing == "None:no such file"


@pytest.mark.parametrize(
    ("rate", "channels", "dtype", "subtype"),
    [
        (16_000, 1, "float32", "FLOAT"),
        (16_000, 1, "int16", "PCM_16"),
        (44_100, 2, "float32", "FLOAT"),
        (48_000, 2, "int16", "PCM_16"),
        (44_100, 6, "int32", "PCM_32"),
        (8_000, 1, "uint8", "PCM_U8"),
    ],
)
def test_samples_get_the_label_of_the_same_sound_in_a_file(
    tmp_path: Path, labeler: merkit.Labeler, rate: int, channels: int, dtype: Any, subtype: str
) -> None:
    sound = np.stack([noise(23, rate, seed) for seed in range(channels)], axis=1)
    soundfile.write(tmp_path / "a.wav", sound, rate, subtype=subtype)
    samples = sound
    if dtype == "uint8":  # soundfile reads no such type
        samples = np.frombuffer((tmp_path / "a.wav").read_bytes()[-len(sound) :], np.uint8)[:, None]
    elif dtype != "float32":
        samples, _ = soundfile.read(tmp_path / "a.wav", dtype=dtype, always_2d=True)
    label = labeler.label_samples(samples[:, 0] if channels == 1 else samples, rate)
    assert without_names(label) == without_names(labeler.label(tmp_path / "a.wav"))
    assert label.duration_s == 23
    assert (label.path, label.decoder) == ("", "samples")


def test_every_window_or_few(folder: Path) -> None:
    with merkit.Labeler(MODEL, windows="all", hop_s=5) as labeler:
        assert [start for start, _ in labeler.label(folder / "song.mp3").windows] == [0, 5, 10, 15]
    with merkit.Labeler(MODEL, windows=1) as labeler:
        assert len(labeler.label(folder / "song.mp3").windows) == 1


def test_silence_is_a_verdict_and_no_error(folder: Path, labeler: merkit.Labeler) -> None:
    path = str(write_audio(folder / "silent.wav", np.zeros(5 * 16_000, np.float32), 16_000))
    (one,) = labeler.label_files([path])
    assert labeler.label(path) == one
    assert (one.verdict, one.emotion, one.error, one.duration_s) == ("silence", None, None, 5.0)
    of_samples = labeler.label_samples(np.zeros(5 * 16_000), 16_000)
    assert (of_samples.path, of_samples.verdict, of_samples.duration_s) == ("", "silence", 5.0)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_opens_the_model_for_itself(folder: Path, copied: Callable[[Any], merkit.Labeler]) -> None:
    path = str(folder / "other.wav")
    with merkit.Labeler(MODEL, workers=1) as labeler:
        expected = labeler.label(path)
        assert list(labeler.label_files([path])) == [expected]
        with copied(labeler) as other:
            assert other.label(path) == expected
        assert labeler.label(path) == expected  # the copy has closed nothing of it
        assert list(labeler.label_files([path])) == [expected]


def test_paths_are_taken_with_the_callers_context(folder: Path) -> None:
    seen = []

    def paths() -> Iterator[str]:
        seen.append(variable.get())
        yield str(folder / "other.wav")

    variable: ContextVar[str] = ContextVar("variable", default="none")
    variable.set("the caller's")
    with merkit.Labeler(MODEL, workers=1) as labeler:
        assert len(list(labeler.label_files(paths()))) == 1
    assert seen == ["the caller's"]


def test_what_it_refuses(folder: Path, labeler: merkit.Labeler) -> None:
    with pytest.raises(AudioError, match="no such file"):
        labeler.label("missing.mp3")
    for error in (AudioError, UsageError):
        assert issubclass(error, merkit.MerError)
    with pytest.raises(UsageError, match="unknown model 'wavenet'; known: accurate, audiocnn"):
        merkit.Labeler("wavenet")
    with pytest.raises(UsageError, match="no runtime 'tensorflow'"):
        merkit.Labeler(MODEL, runtime="tensorflow")
    with pytest.raises(ValueError, match=r"\[samples\] or \[samples, channels\], not \[1, 2, 3\]"):
        labeler.label_samples(np.zeros((1, 2, 3)), 16_000)
    with pytest.raises(ValueError, match="sample_rate must be above 0"):
        labeler.label_samples(np.zeros(16_000), 0)
    with pytest.raises(AudioError, match="too short"):
        labeler.label_samples([0.1, 0.2], 16_000)
    with pytest.raises(AudioError, match="not finite"):
        labeler.label_samples(np.full(16_000, np.nan), 16_000)
    with pytest.raises(AudioError, match="integers of 64 bits that fill only 16: convert them to int16"):
        labeler.label_samples((noise(3, 16_000) * 32_768).astype(np.int16).tolist(), 16_000)
    with pytest.raises(AudioError, match="integers of 32 bits that fill only 24: divide them by 2"):
        labeler.label_samples((noise(3, 16_000) * 2**23).astype(np.int32), 16_000)
    with pytest.raises(ValueError, match="sample_rate must be at most"):
        labeler.label_samples(noise(3, 16_000), 10**29)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"windows": 0}, 'windows must be a whole number above 0 or "all", not 0'),
        ({"windows": 1.5}, "windows must be"),
        ({"windows": "few"}, "windows must be"),
        ({"windows": "all", "hop_s": 0.0}, "hop_s must be seconds above 0, at most 1,000,000, not 0.0"),
        ({"windows": "all", "hop_s": float("nan")}, "hop_s must be"),
        ({"windows": "all", "hop_s": float("inf")}, "hop_s must be"),
        ({"windows": "all", "hop_s": "1"}, "hop_s must be"),
        ({"device": "gpu"}, "device must be one of auto, cpu, cuda, not 'gpu'"),
        ({"windows": 100_001}, 'windows must be at most 100,000, or "all"'),
        ({"windows": np.int64(10**12)}, "windows must be at most"),
        ({"windows": True}, "windows must be"),
        ({"hop_s": 1}, 'hop_s goes with windows="all"'),
        ({"windows": "all", "hop_s": 10**400}, "hop_s must be"),
        ({"windows": "all", "hop_s": True}, "hop_s must be"),
        ({"windows": "all", "hop_s": 1e308}, "hop_s must be seconds above 0, at most 1,000,000, not 1e"),
        ({"workers": True}, "workers must be a whole number"),
        ({"workers": np.float32(1)}, "workers must be a whole number"),
        ({"min_confidence": True}, "min_confidence must be from 0 to 1"),
        ({"min_confidence": np.float32("nan")}, "min_confidence must be from 0 to 1"),
        ({"workers": 1_025}, "workers must be a whole number to 1,024"),
        ({"workers": -1}, "workers must be a whole number"),  # a pool of none would wait for ever
    ],
)
def test_options_that_are_none(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        merkit.Labeler(MODEL, **options)


def test_numbers_of_numpy(folder: Path) -> None:
    counted: dict[str, Any] = {
        "windows": np.int64(2),
        "workers": np.int64(1),
        "min_confidence": np.float32(0.5),
    }
    for numbers, plain in (
        (counted, {"windows": 2, "workers": 1, "min_confidence": 0.5}),
        ({"windows": "all", "hop_s": np.float32(5)}, {"windows": "all", "hop_s": 5}),
    ):
        with merkit.Labeler(MODEL, **numbers) as taken, merkit.Labeler(MODEL, **plain) as labeler:
            assert taken.label(folder / "song.mp3") == labeler.label(folder / "song.mp3")


def test_the_network_has_no_more_threads_than_a_container_has_cores(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    from merkit import labeler as module

    def open_runtime(artifact: Any, runtime: Any, threads: int) -> Any:
        given.append(threads)
        return real(artifact, runtime, threads)

    real = module.open_runtime
    monkeypatch.setattr(module, "open_runtime", open_runtime)
    monkeypatch.setattr("merkit.engine.labelling.local.usable_cores", lambda: 6)
    merkit.label(folder / "other.wav", MODEL)
    assert given == [3]


def test_a_closed_labeler_opens_again(folder: Path) -> None:
    labeler = merkit.Labeler(MODEL)
    with labeler:
        song = labeler.label(folder / "other.wav")
    assert labeler.label(folder / "other.wav") == song
    labeler.close()


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_threads_may_share_one(folder: Path, runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(runtime)
    opened: list[str | None] = []
    module = sys.modules["merkit.labeler"]
    original = module.open_runtime

    def open_runtime(artifact: Any, runtime: str | None, threads: int) -> Any:
        opened.append(runtime)
        time.sleep(0.1)  # so that the other threads come meanwhile
        return original(artifact, runtime, threads)

    monkeypatch.setattr(module, "open_runtime", open_runtime)
    sounds = [noise(12, 16_000, seed) * 0.7**seed for seed in range(8)]
    expected = [merkit.Labeler(MODEL, runtime=runtime).label_samples(sound, 16_000) for sound in sounds]
    opened.clear()
    with merkit.Labeler(MODEL, runtime=runtime) as labeler, ThreadPoolExecutor(8) as threads:
        for given, right in zip(
            threads.map(lambda sound: labeler.label_samples(sound, 16_000), sounds * 4),
            expected * 4,
            strict=True,
        ):
            np.testing.assert_allclose(given.probabilities, right.probabilities, atol=1e-5)
    assert opened == [runtime]


def test_files_of_two_threads(folder: Path) -> None:
    with merkit.Labeler(MODEL, workers=1) as labeler, ThreadPoolExecutor(2) as threads:
        names = ["song.mp3", "other.wav"]
        parts = [[folder / name] * 5 for name in names]
        expected = [labeler.label(folder / name).emotion for name in names]
        for _ in range(2):
            songs = threads.map(lambda paths: list(labeler.label_files(paths)), parts)
            got = [[(song.emotion, song.error) for song in part] for part in songs]
            assert got == [[(emotion, None)] * 5 for emotion in expected]


def test_a_labeler_that_is_closed_while_other_threads_label(folder: Path) -> None:
    sounds = [noise(12, 16_000, seed) for seed in range(40)]
    with merkit.Labeler(MODEL) as labeler, ThreadPoolExecutor(4) as threads:
        songs = threads.map(lambda sound: labeler.label_samples(sound, 16_000).emotion, sounds)
        while labeler._network is None:
            time.sleep(0.01)
        for _ in range(10):
            labeler.close()
            time.sleep(0.02)
        assert len(list(songs)) == 40


@pytest.mark.parametrize("seconds", [0, 0.01, 0.05])
def test_a_labeler_that_another_thread_closes_while_files_are_labelled(folder: Path, seconds: float) -> None:
    labeler = merkit.Labeler(MODEL, workers=1)
    labels = labeler.label_files([folder / "song.mp3"] * 100)
    next(labels)
    with ThreadPoolExecutor(1) as threads:
        closed = threads.submit(lambda: (time.sleep(seconds), labeler.close()))
        with pytest.raises(ValueError, match="closed while results were awaited"):
            list(labels)
        closed.result()


@pytest.mark.parametrize(
    ("owner", "name"), [(onnxruntime.InferenceSession, "run"), (soundfile.SoundFile, "read"), (os, "pread")]
)
@pytest.mark.parametrize("kind", [TimeoutError, RuntimeError, type("Limit", (Exception,), {})])
def test_what_a_handler_of_the_program_raises_comes_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, kind: type[Exception]
) -> None:
    """As time limits do, by an alarm: whatever it interrupts, and whatever else means an error there."""

    def limit(*_: object) -> None:
        raise kind("too long")

    before = signal.signal(signal.SIGUSR1, limit)
    try:
        with merkit.Labeler(MODEL, runtime="onnxruntime") as labeler:
            expected = labeler.label(folder / "other.wav")
            with monkeypatch.context() as patch:
                patch.setattr(owner, name, lambda *_, **__: signal.raise_signal(signal.SIGUSR1))
                with pytest.raises(kind, match="too long"):
                    labeler.label(folder / "other.wav")
            assert labeler.label(folder / "other.wav") == expected
    finally:
        signal.signal(signal.SIGUSR1, before)
