"""The cache is made once, is whole or not there, and belongs to one spec and one file."""

from __future__ import annotations

import dataclasses
import errno
import os
from pathlib import Path

import numpy as np
import pytest
from generated import folder_of
from merkit.engine.data.labelled_audio import Clip
from merkit.engine.errors import MerError
from merkit.engine.spec import AudioSpec
from merkit.engine.spectrogram.log_mel import log_mel_from_audio
from merkit.training.data import spectrogram_cache as cache
from merkit.training.data.augment import spread_crops
from merkit.training.data.spectrogram_cache import cached_decibels
from reading import windows_from_file

SPEC = AudioSpec(window_samples=32_000, frames=63, n_mels=32)


@pytest.fixture
def songs(tmp_path: Path) -> list[Clip]:
    folder_of(tmp_path / "songs", ("happy", "sad"), 2)
    return _clips(sorted((tmp_path / "songs").rglob("*.wav")))


def _clips(paths: list[Path]) -> list[Clip]:
    return [Clip(path, path.parent.name, "") for path in paths]


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Computes spectrograms in this process, and lists the files."""
    names: list[str] = []

    class Pool:
        def __init__(self, function, options, workers=0, seconds=0.0):
            self.function, self.options = function, options

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def map(self, items):
            for i, item in enumerate(items):
                names.append(Path(item[0]).name)
                try:
                    yield i, self.function(item, self.options)
                except MerError as error:
                    yield i, cache.Failure(str(error))

    monkeypatch.setattr(cache, "WorkerPool", Pool)
    return names


def test_children_make_it_once_and_skip_what_cannot_be_read(songs: list[Clip], tmp_path: Path):
    bad = tmp_path / "songs" / "bad.wav"
    bad.write_bytes(b"RIFF, but no more")
    clips = [*songs, *_clips([bad, tmp_path / "missing.wav"]), songs[0]]
    counted: list[int] = []
    first = cached_decibels(clips, SPEC, tmp_path / "cache", 2, counted.append)
    assert counted[-1] == len(clips)
    assert [isinstance(result, MerError) for result in first] == [False] * 4 + [True, True, False]
    assert str(first[5]).startswith("cannot be read: ")
    again = cached_decibels(songs, SPEC, tmp_path / "cache", 2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=False))  # pyright: ignore
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == len(songs)
    assert not list((tmp_path / "cache").rglob("*.part"))


def test_crops_are_the_engines_log_mels(songs: list[Clip], tmp_path: Path, computed: list[str]):
    spec = dataclasses.replace(SPEC, mean=(-40.0,), std=(15.0,))
    decibels = cached_decibels(songs[:1], spec, tmp_path / "cache")[0]
    windows = windows_from_file(songs[0].path, spec, 3)
    ours = spread_crops(decibels, spec, 3)  # pyright: ignore[reportArgumentType]
    for window, log_mel in zip(windows, ours, strict=True):
        frame = round(window.start_s * spec.sample_rate / spec.hop_length)
        expected = log_mel_from_audio(window.samples[None], spec)[0, 0]
        # Where a window begins between two frames, or has its own edge, the log-mels differ a little.
        inner = np.abs(log_mel - expected)[:, 3:-3]
        assert np.median(inner) < (
            0.02 if frame * spec.hop_length == window.start_s * spec.sample_rate else 0.4
        )


def test_only_what_changes_the_sound_makes_another(songs: list[Clip], tmp_path: Path, computed: list[str]):
    folder = tmp_path / "cache"
    cached_decibels(songs, SPEC, folder)
    assert len(computed) == 4
    same = dataclasses.replace(SPEC, mean=(1.0,), reference="max", top_db=80.0)
    cached_decibels(songs, same, folder)
    assert len(computed) == 4
    other = cached_decibels(songs, dataclasses.replace(SPEC, n_mels=16), folder)
    assert len(computed) == 8
    assert {decibels.shape[0] for decibels in other} == {16}  # pyright: ignore[reportAttributeAccessIssue]


def test_a_damaged_file_is_made_anew(songs: list[Clip], tmp_path: Path, computed: list[str]):
    folder = tmp_path / "cache"
    cached_decibels(songs, SPEC, folder)
    damaged = sorted(folder.rglob("*.npy"))
    damaged[0].write_bytes(damaged[0].read_bytes()[:500])
    damaged[1].write_bytes(b"")
    np.save(damaged[2], np.zeros((3, 3), np.float32))
    computed.clear()
    again = cached_decibels(songs, SPEC, folder)
    assert len(computed) == 3
    assert {decibels.shape[0] for decibels in again} == {32}  # pyright: ignore[reportAttributeAccessIssue]


def test_a_changed_file_is_made_anew(songs: list[Clip], tmp_path: Path, computed: list[str]):
    cached_decibels(songs, SPEC, tmp_path / "cache")
    songs[0].path.write_bytes(songs[1].path.read_bytes())
    computed.clear()
    again = _clips([clip.path for clip in songs[:2]])  # a clip remembers its id
    first, second = cached_decibels(again, SPEC, tmp_path / "cache")
    assert not computed  # the same sound under another name is there already
    assert np.array_equal(first, second)  # pyright: ignore[reportArgumentType]


def test_a_full_disk_stops_and_leaves_nothing_half_written(
    songs: list[Clip], tmp_path: Path, computed: list[str], monkeypatch: pytest.MonkeyPatch
):
    def full(file, array):
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache.np, "save", full)
    with pytest.raises(MerError, match=r"cannot be written: the disk is full; nothing half-written was kept"):
        cached_decibels(songs, SPEC, tmp_path / "cache")
    monkeypatch.undo()
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_cache_that_cannot_be_made(songs: list[Clip], tmp_path: Path):
    (tmp_path / "cache").touch()
    with pytest.raises(MerError, match="cannot be made"):
        cached_decibels(songs, SPEC, tmp_path / "cache")
