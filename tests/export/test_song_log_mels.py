"""Log-mels of songs: decoded, archived and generated."""

from __future__ import annotations

import gc
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from merkit.engine.data.labelled_audio import labelled_audio
from merkit.engine.errors import MerError
from merkit.engine.spec import AudioSpec
from merkit.export.song_log_mels import (
    SongLogMels,
    generated_log_mels,
    log_mels_from_archive,
    log_mels_from_songs,
)
from small_networks import AUDIO


def test_windows_are_spread_over_songs() -> None:
    log_mels = np.arange(6, dtype=np.float32).reshape(6, 1, 1, 1)
    songs = SongLogMels(log_mels, (np.asarray([0, 1, 2]), np.asarray([3]), np.asarray([4, 5])))
    assert songs.spread(4).ravel().tolist() == [0, 3, 4, 1]
    assert songs.spread(99).ravel().tolist() == [0, 3, 4, 1, 5, 2]


def test_songs_become_log_mels_and_a_broken_one_is_named(music: Path, tmp_path: Path) -> None:
    paths = [clip.path for clip in labelled_audio(music).clips[:3]]
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"nothing")
    songs = log_mels_from_songs([paths[0], broken, *paths[1:]], AUDIO, 2, workers=1)
    assert songs.paths == tuple(paths)
    assert [path for path, _ in songs.failed] == [broken]
    assert songs.log_mels.shape == (6, 1, AUDIO.n_mels, AUDIO.frames)
    alone = log_mels_from_songs([paths[2]], AUDIO, 2, workers=1)
    np.testing.assert_array_equal(songs.log_mels[songs.songs[2]], alone.log_mels)
    with pytest.raises(MerError, match="none of 1 files"):
        log_mels_from_songs([broken], AUDIO, 2, workers=1)


def test_spare_songs_are_decoded_in_place_of_broken_ones_only(music: Path, tmp_path: Path) -> None:
    first, second, third, fourth = (clip.path for clip in labelled_audio(music).clips[:4])
    broken, torn = tmp_path / "broken.wav", tmp_path / "torn.wav"
    for path in (broken, torn):
        path.write_bytes(b"nothing")
    songs = log_mels_from_songs([broken, first], AUDIO, 1, 1, [torn, second, third])
    assert (songs.paths, [path for path, _ in songs.failed]) == ((first, second), [broken, torn])
    np.testing.assert_array_equal(
        songs.log_mels, log_mels_from_songs([first, second], AUDIO, 1, 1, [fourth]).log_mels
    )
    assert log_mels_from_songs([first, broken], AUDIO, 1, 1, [torn]).paths == (first,)
    with pytest.raises(MerError, match="none of 2 files"):
        log_mels_from_songs([broken], AUDIO, 1, 1, [torn])


def test_no_temporary_file_stays_open(music: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"nothing")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        log_mels = log_mels_from_songs([labelled_audio(music).clips[0].path], AUDIO, 1, 1).log_mels
        gc.collect()
        assert np.isfinite(log_mels).all()
        del log_mels
        with pytest.raises(MerError, match="none of 1 files"):
            log_mels_from_songs([broken], AUDIO, 1, 1)
        gc.collect()
    assert not [
        each for each in seen if "mer-log-mels-" in str(each.message) or "unclosed file" in str(each.message)
    ]


def test_an_archive_of_another_spec_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "windows.npz"
    log_mels = np.zeros((3, 1, AUDIO.n_mels, AUDIO.frames), np.float32)
    np.savez(path, images=log_mels, audio_spec=AUDIO.to_json())
    assert len(log_mels_from_archive(path, AUDIO).log_mels) == 3
    with pytest.raises(MerError, match="another AudioSpec"):
        log_mels_from_archive(path, AudioSpec())
    np.savez(path, images=log_mels[:, :, 1:], audio_spec=AUDIO.to_json())
    with pytest.raises(MerError, match="not \\[n, 1, 32, 32\\]"):
        log_mels_from_archive(path, AUDIO)
    np.savez(path, images=log_mels)
    with pytest.raises(MerError, match="audio_spec"):
        log_mels_from_archive(path, AUDIO)
    for content in (b"nothing", b"PK\x03\x04 cut", b"\x93NUMPY"):
        path.write_bytes(content)
        with pytest.raises(MerError, match="no archive") as refused:
            log_mels_from_archive(path, AUDIO)
        assert "\n" not in str(refused.value)
    too_large = log_mels.astype(np.float64) + 1e300
    for images in (log_mels + np.nan, too_large, log_mels.astype(complex), log_mels.astype(object)):
        np.savez(path, images=images, audio_spec=AUDIO.to_json())
        with pytest.raises(MerError, match=r"no finite numbers|no archive"):
            log_mels_from_archive(path, AUDIO)


def test_an_archive_that_is_no_file_or_a_bomb_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(MerError, match="not a regular file"):
        log_mels_from_archive(tmp_path / "pipe.npz", AUDIO)
    path = tmp_path / "windows.npz"
    log_mels = np.zeros((2_000, 1, AUDIO.n_mels, AUDIO.frames), np.float32)
    np.savez_compressed(path, images=log_mels, audio_spec=AUDIO.to_json())
    monkeypatch.setattr("merkit.export.song_log_mels._LARGEST_ARCHIVE", 1 << 20)
    with pytest.raises(MerError, match="images take more than"):
        log_mels_from_archive(path, AUDIO)


def test_generated_sound_is_the_same_each_time_and_varied() -> None:
    first, again = generated_log_mels(AUDIO, 6).log_mels, generated_log_mels(AUDIO, 6).log_mels
    np.testing.assert_array_equal(first, again)
    assert np.isfinite(first).all()
    assert np.ptp(first.mean(axis=(1, 2, 3))) > 3  # dB


def test_silent_windows_are_left_out(tmp_path: Path) -> None:
    """They have no vote, so that nothing is compared or calibrated on them."""
    second = np.random.default_rng(0).normal(0, 0.1, AUDIO.sample_rate).astype(np.float32)
    path = tmp_path / "a.wav"
    soundfile.write(path, np.concatenate([second, 0 * second, 0 * second, 0 * second]), AUDIO.sample_rate)
    songs = log_mels_from_songs([path], AUDIO, 4, workers=1)
    assert len(songs.log_mels) == 1
    np.testing.assert_array_equal(songs.songs[0], [0])
