import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from merkit.benchmarks.measure import row_measurement
from merkit.benchmarks.measure.cases import Case
from merkit.benchmarks.measure.loadgen import Length, ScenarioResult
from merkit.benchmarks.measure.row_measurement import RowOptions, measure_in_child
from merkit.benchmarks.row import Row, Scenario
from merkit.engine.artifact import open_artifact
from merkit.engine.errors import MerError
from merkit.engine.runtimes import open_runtime
from small_networks import write_music


def case(networks: Path, runtime: str = "onnxruntime") -> Case:
    return Case("small", networks / "small.onnx", "folder", runtime, "fp32")


def test_a_dying_process_is_a_reason(
    networks: Path, tmp_path: Path, short: Length, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_measurement, "_work", die)
    options = RowOptions(short, 1, ("SingleStream",), tmp_path / "logs")
    row = Row("small")
    with pytest.raises(MerError, match=r"process died \(SIGKILL"):
        measure_in_child(case(networks), options, row)
    assert row == Row("small")


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_row_is_filled_in(networks: Path, tmp_path: Path, short: Length) -> None:
    artifact = open_artifact(str(networks / "small.onnx"))
    audio = artifact.spec.audio
    shape = (20, 1, audio.n_mels, audio.frames)  # not a multiple of what is computed at once
    log_mels = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    np.save(tmp_path / "log_mels.npy", log_mels)
    options = RowOptions(
        short, 1, ("SingleStream", "Offline", "Server"), tmp_path / "logs", tmp_path / "log_mels.npy"
    )
    row = Row("small")
    logits = measure_in_child(case(networks), options, row)
    assert logits is not None
    with open_runtime(artifact, "onnxruntime", 1) as runtime:
        np.testing.assert_allclose(logits, runtime.infer(log_mels), atol=1e-5)
    assert set(row.scenarios) == {"SingleStream", "Offline", "Server"}
    assert row.throughput == row.scenarios["Offline"].images_per_s
    assert row.p50 == row.scenarios["SingleStream"].p50
    assert row.best_batch in (1, 4, 16)
    assert f"{row.streams} x{row.best_batch}" == max(row.rates, key=lambda batch: row.rates[batch])
    assert row.throughput_interval == (min(row.throughput_samples), max(row.throughput_samples))
    assert 0 < len(row.latency_ms) <= 5_000
    assert row.peak_mib is not None
    assert 20 < row.peak_mib < 4_096
    assert row.songs_per_s is row.stages is None  # no songs were given
    assert (tmp_path / "logs" / "output.txt").is_file()


def test_a_runtime_that_refuses_is_a_reason(networks: Path, tmp_path: Path, short: Length) -> None:
    options = RowOptions(short, 1, ("SingleStream",), tmp_path / "logs")
    with pytest.raises(MerError, match="no runtime 'nothing'"):
        measure_in_child(case(networks, "nothing"), options, Row())


def test_a_process_that_hangs_is_a_reason(
    networks: Path, tmp_path: Path, short: Length, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_measurement, "_work", hang)
    monkeypatch.setattr(row_measurement, "_limit_s", lambda options: 2.0)
    options = RowOptions(short, 1, ("SingleStream",), tmp_path / "logs")
    with pytest.raises(MerError, match="took longer than 2 s and was stopped"):
        measure_in_child(case(networks), options, Row())


def hang(*_: object) -> None:
    time.sleep(600)


def test_the_limit_counts_the_songs_before_the_clock_too(
    tmp_path: Path, short: Length, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_measurement, "usable_cores", lambda: 64)
    none, sixty = (RowOptions(short, 1, (), tmp_path, songs=("a.mp3",) * count) for count in (0, 60))
    assert row_measurement._limit_s(sixty) - row_measurement._limit_s(none) == 60 * (64 + 60)


def test_songs_without_a_label_do_not_count(networks: Path, tmp_path: Path, short: Length) -> None:
    songs = tmp_path / "songs"
    songs.mkdir()
    write_music(songs, artists=1)
    good = sorted(map(str, songs.glob("*.wav")))
    for name in "abcdefgh":
        (songs / f"{name}.mp3").touch()
    broken = sorted(map(str, songs.glob("*.mp3")))
    few = [*good[:6], *broken[:6]]
    two = [*good[:2], *broken[:2]]  # of which no rate is known
    most = [*good, *good[:2], *broken[:2]]
    for files, failed, is_known in (
        (broken, 8, False), ([*good[:5], *broken], 8, False), (two, 2, False), (few, 6, True),
        (most, 2, True), (good, 0, True),
    ):  # fmt: skip
        row = Row("small")
        options = RowOptions(short, 1, ("SingleStream",), tmp_path / "logs", songs=tuple(files))
        measure_in_child(case(networks), options, row)
        assert (row.songs_failed, row.songs_per_s is not None) == (failed, is_known)


@pytest.mark.parametrize("failed", [0, 20])
def test_what_was_read_ahead_is_not_free_and_what_fails_is_no_song(
    networks: Path, tmp_path: Path, short: Length, monkeypatch: pytest.MonkeyPatch, failed: int
) -> None:
    """Behind a first call that takes long all songs lie decoded: what follows is no pace of whole songs."""
    now, first_s = 0.0, 30.0  # of the network; decoders need 1 s a song, and have no limit

    def label_files(paths: Sequence[str], *_: Any, **__: Any) -> Iterator[Any]:
        nonlocal now, first_s
        now += max(first_s, float(len(paths)))
        first_s = 0.0
        for path in paths:
            now += 0.01
            yield SimpleNamespace(error="torn" if path.endswith("torn.mp3") else None)

    backend = SimpleNamespace(label_files=label_files)
    monkeypatch.setattr(row_measurement, "LocalBackend", lambda _: nullcontext(backend))
    monkeypatch.setattr(row_measurement, "time", SimpleNamespace(perf_counter=lambda: now))
    row, songs = Row("small"), tuple(f"{number}.mp3" for number in range(60))
    songs += tuple(f"{number}torn.mp3" for number in range(failed))
    options = RowOptions(short, 1, (), tmp_path / "logs", songs=songs)
    artifact = open_artifact(str(networks / "small.onnx"))
    row_measurement._fill_songs(row, case(networks), options, artifact)
    assert row.songs_per_s == pytest.approx(60 / (1.01 * (60 + failed)))
    assert row.songs_failed == failed


def test_a_peak_is_in_mib(monkeypatch: pytest.MonkeyPatch) -> None:
    status = "VmPeak:\t  409600 kB\nVmHWM:\t  204800 kB\nVmRSS:\t  102400 kB\n"
    monkeypatch.setattr(Path, "read_text", lambda _: status)
    assert row_measurement.peak_mib() == 200


def test_figures_are_of_their_scenarios() -> None:
    single = ScenarioResult(Scenario(p50=3.0, p90=4.0, p99=5.0), [2.0, 3.0, 5.0], [2.5, 3.5, 3.0])
    offline = ScenarioResult(Scenario(images_per_s=70.0), [9.0], [71.0, 69.0])
    row = Row()
    row_measurement._fill_scenarios(row, {"SingleStream": single, "Offline": offline})
    assert (row.p50, row.p90, row.p99, row.p50_interval) == (3, 4, 5, (2.5, 3.5))
    assert (row.latency_ms, row.throughput_samples) == ([2, 3, 5], [71, 69])
    assert (row.throughput, row.throughput_interval) == (70, (69, 71))
