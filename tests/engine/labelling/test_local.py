import threading
from pathlib import Path

import numpy as np
import pytest
from audio_files import chirp, noise, write_audio
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from merkit.engine.artifact import open_artifact
from merkit.engine.labelling.contract import StageSeconds
from merkit.engine.labelling.file_windows import WindowOptions, log_mels_from_file
from merkit.engine.labelling.local import FileByFile, LocalBackend
from merkit.engine.labelling.song_label import SongLabel, label_from_logits, probabilities_from_logits
from merkit.engine.runtimes import open_runtime
from merkit.engine.spec import ModelSpec
from reading import labels_of


@pytest.fixture
def songs(tmp_path: Path) -> list[str]:
    folder = tmp_path / "songs"
    folder.mkdir()
    paths = []
    for i, (suffix, seconds) in enumerate(
        [(".wav", 31), (".mp3", 12), (".flac", 3), (".m4a", 25), (".ogg", 40)]
    ):
        signal = chirp(seconds, 22_050) if i % 2 else noise(seconds, 22_050, i)
        paths.append(str(write_audio(folder / f"{i}{suffix}", signal, 22_050)))
    (folder / "bad.mp3").write_text("no song")
    return [*paths[:2], str(folder / "bad.mp3"), *paths[2:]]


def label(paths: list[str], model: Path, **options) -> list[SongLabel]:
    artifact = open_artifact(str(model))
    return labels_of(paths, artifact, WindowOptions(artifact.spec.audio, **options))


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
        means = np.mean([p for _, p in row.windows], axis=0)
        np.testing.assert_allclose(row.probabilities, means, atol=2e-6)
        assert row.emotion == ("happy", "tense", "sad", "calm")[int(np.argmax(row.probabilities))]
        assert row.confidence == max(row.probabilities)
    assert [len(row.windows) for row in rows[:6]] == [3, 3, 0, 1, 3, 3]


def test_the_timeline_is_the_windows(songs: list[str], tiny_model: Path) -> None:
    (row,) = label(songs[:1], tiny_model, windows="all", hop_s=5.0)
    assert [start for start, _ in row.windows] == [0, 5, 10, 15, 20, 21]
    artifact = open_artifact(str(tiny_model))
    file = log_mels_from_file(songs[0], WindowOptions(artifact.spec.audio, "all", 5.0))
    with open_runtime(artifact) as runtime:
        logits = runtime.infer(file.log_mels)
    np.testing.assert_allclose([p for _, p in row.windows], probabilities_from_logits(logits, 1.0), atol=2e-6)
    assert row.duration_s == pytest.approx(31, abs=0.01)


def test_temperature_is_the_specs(songs: list[str], tiny_model: Path, spec: ModelSpec) -> None:
    import dataclasses

    artifact = open_artifact(str(tiny_model))
    file = log_mels_from_file(songs[0], WindowOptions(spec.audio))
    with open_runtime(artifact) as runtime:
        logits = runtime.infer(file.log_mels)
    cold, hot = (
        label_from_logits("a", file.facts, logits, dataclasses.replace(spec, temperature=t))
        for t in (0.5, 5.0)
    )
    assert cold.emotion == hot.emotion
    assert (cold.confidence or 0) > (hot.confidence or 1)


@given(hnp.arrays(np.float32, (5, 4), elements=st.floats(-1e4, 1e4, width=32)), st.floats(0.01, 100))
def test_probabilities(logits: np.ndarray, temperature: float) -> None:
    found = probabilities_from_logits(logits, temperature)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_allclose(found, probabilities_from_logits(logits + 3, temperature), atol=1e-3)
    assert (found.max(axis=1) == found[np.arange(5), logits.argmax(axis=1)]).all()


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


def test_a_network_that_gives_nan_is_an_error_row(songs: list[str], spec: ModelSpec) -> None:
    file = log_mels_from_file(songs[0], WindowOptions(spec.audio))
    logits = np.full((len(file.log_mels), 4), np.nan, np.float32)
    row = label_from_logits("a", file.facts, logits, spec)
    assert row.error == "the network gave numbers that are not finite"
