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
from merkit.engine.spectrogram.log_mel import log_mel_from_audio, log_mel_from_decibels
from merkit.training.data import spectrogram_cache as cache
from merkit.training.data.augment import spread_crops
from merkit.training.data.spectrogram_cache import ClipSound, cached_sounds
from pool_here import pool_here
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

    pool = pool_here(lambda item: names.append(Path(item[0]).name))
    monkeypatch.setattr(cache, "WorkerPool", pool)
    return names


def _all(sounds: list[ClipSound | MerError]) -> list[ClipSound]:
    """None of them is an error."""
    assert not [sound for sound in sounds if isinstance(sound, MerError)]
    return sounds  # pyright: ignore[reportReturnType]


def _equal(first: ClipSound | MerError, second: ClipSound | MerError) -> bool:
    (a, b) = _all([first, second])
    return np.array_equal(a.decibels(), b.decibels()) and np.array_equal(a.windows(), b.windows())


def test_children_make_it_once_and_skip_what_cannot_be_read(songs: list[Clip], tmp_path: Path):
    bad = tmp_path / "songs" / "bad.wav"
    bad.write_bytes(b"RIFF, but no more")
    clips = [*songs, *_clips([bad, tmp_path / "missing.wav"]), songs[0]]
    counted: list[int] = []
    first = cached_sounds(clips, SPEC, 3, tmp_path / "cache", 2, counted.append)
    assert counted[-1] == len(clips)
    assert [isinstance(result, MerError) for result in first] == [False] * 4 + [True, True, False]
    assert str(first[5]).startswith("cannot be read: ")
    again = cached_sounds(songs, SPEC, 3, tmp_path / "cache", 2)
    assert all(_equal(a, b) for a, b in zip(first, again, strict=False))
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 2 * len(songs)
    assert not list((tmp_path / "cache").rglob("*.part"))


def test_windows_are_the_engines_and_crops_nearly(songs: list[Clip], tmp_path: Path, computed: list[str]):
    spec = dataclasses.replace(SPEC, mean=(-40.0,), std=(15.0,))
    (sound,) = _all(cached_sounds(songs[:1], spec, 3, tmp_path / "cache"))
    windows = windows_from_file(songs[0].path, spec, 3)
    ours = spread_crops(sound.decibels(), spec, 3)
    assert len(sound.windows()) == len(windows) == len(ours) == 3
    for window, heard, cut in zip(windows, sound.windows(), ours, strict=True):
        expected = log_mel_from_audio(window.samples[None], spec)[0, 0]
        assert np.array_equal(log_mel_from_decibels(heard, spec), expected)
        frame = round(window.start_s * spec.sample_rate / spec.hop_length)
        # Where a window begins between two frames, or has its own edge, crops differ a little.
        inner = np.abs(log_mel_from_decibels(cut, spec) - expected)[:, 3:-3]
        assert np.median(inner) < (
            0.02 if frame * spec.hop_length == window.start_s * spec.sample_rate else 0.4
        )


def test_what_is_quieter_than_the_spec_hears_is_kept(songs: list[Clip], tmp_path: Path, computed: list[str]):
    loud = dataclasses.replace(SPEC, amin=1e-3)
    (sound,) = _all(cached_sounds(songs[:1], loud, 3, tmp_path / "cache"))
    assert sound.decibels().min() < -50
    assert sound.windows().min() == -30


def test_only_what_changes_the_sound_makes_another(songs: list[Clip], tmp_path: Path, computed: list[str]):
    folder = tmp_path / "cache"
    cached_sounds(songs, SPEC, 3, folder)
    assert len(computed) == 4
    same = dataclasses.replace(SPEC, mean=(1.0,), reference="max", top_db=80.0)
    cached_sounds(songs, same, 3, folder)
    assert len(computed) == 4
    other = cached_sounds(songs, dataclasses.replace(SPEC, n_mels=16), 3, folder)
    assert len(computed) == 8
    assert {(len(sound.decibels()), *sound.windows().shape) for sound in _all(other)} == {(16, 3, 16, 63)}
    fewer = cached_sounds(songs, SPEC, 2, folder)
    assert {len(sound.windows()) for sound in _all(fewer)} == {2}


def test_a_damaged_file_is_made_anew(songs: list[Clip], tmp_path: Path, computed: list[str]):
    folder = tmp_path / "cache"
    cached_sounds(songs, SPEC, 3, folder)
    damaged = sorted(folder.rglob("*.npy"))
    damaged[0].write_bytes(damaged[0].read_bytes()[:500])
    damaged[1].write_bytes(b"")
    np.save(damaged[2], np.zeros((3, 3), np.float32))
    computed.clear()
    again = cached_sounds(songs, SPEC, 3, folder)
    assert len(computed) == 3
    assert {len(sound.decibels()) for sound in _all(again)} == {32}


def test_a_changed_file_is_made_anew(songs: list[Clip], tmp_path: Path, computed: list[str]):
    cached_sounds(songs, SPEC, 3, tmp_path / "cache")
    songs[0].path.write_bytes(songs[1].path.read_bytes())
    computed.clear()
    again = _clips([clip.path for clip in songs[:2]])  # a clip remembers its id
    first, second = cached_sounds(again, SPEC, 3, tmp_path / "cache")
    assert not computed  # the same sound under another name is there already
    assert _equal(first, second)


def test_a_full_disk_stops_and_leaves_nothing_half_written(
    songs: list[Clip], tmp_path: Path, computed: list[str], monkeypatch: pytest.MonkeyPatch
):
    def full(file, array):
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache.np, "save", full)
    with pytest.raises(MerError, match=r"cannot be written: the disk is full; nothing half-written was kept"):
        cached_sounds(songs, SPEC, 3, tmp_path / "cache")
    monkeypatch.undo()
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_cache_that_cannot_be_made(songs: list[Clip], tmp_path: Path):
    (tmp_path / "cache").touch()
    with pytest.raises(MerError, match="cannot be made"):
        cached_sounds(songs, SPEC, 3, tmp_path / "cache")


def test_a_clip_holds_no_file_open(songs: list[Clip], tmp_path: Path, computed: list[str]):
    before = len(os.listdir("/dev/fd"))
    sounds = _all(cached_sounds(songs, SPEC, 3, tmp_path / "cache"))
    assert len(os.listdir("/dev/fd")) == before
    window = sounds[0].windows()[0]
    assert isinstance(window, np.memmap)  # only what is used of it is read


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_system_that_opens_no_more_files_is_no_damaged_clip(
    number: int, songs: list[Clip], tmp_path: Path, computed: list[str], monkeypatch: pytest.MonkeyPatch
):
    cached_sounds(songs, SPEC, 3, tmp_path / "cache")

    def refused(*arguments, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(cache.np, "load", refused)
    with pytest.raises(
        MerError, match=rf"npy cannot be opened: {os.strerror(number)}; allow more (open files|memory)"
    ):
        cached_sounds(songs, SPEC, 3, tmp_path / "cache")
    assert len(computed) == len(songs)


def test_a_cache_that_goes_during_a_training(songs: list[Clip], tmp_path: Path, computed: list[str]):
    sound, *_ = _all(cached_sounds(songs, SPEC, 3, tmp_path / "cache"))
    for file in (tmp_path / "cache").rglob("*.npy"):
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(
        MerError, match=r"is gone or damaged by now: the same command with --resume makes it anew"
    ):
        sound.windows()
    for file in (tmp_path / "cache").rglob("*.npy"):
        file.unlink()
    with pytest.raises(MerError, match="is gone or damaged"):
        sound.decibels()
