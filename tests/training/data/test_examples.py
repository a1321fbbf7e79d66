"""Clips become examples: unreadable ones are named, sub-clips keep their song, tags can be learnt."""

from __future__ import annotations

import dataclasses
import os
import resource
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from audio_files import noise
from merkit.engine.data.labelled_audio import Clip, LabelledAudio, labelled_audio
from merkit.engine.errors import MerError
from merkit.engine.spectrogram.presets import PRESETS
from merkit.training.data.examples import (
    Examples,
    connected,
    end_of_band,
    examples_from_audio,
    standardised,
    tag_targets,
)
from small_training import fast_job

SPEC = fast_job().protocol.audio


def test_unreadable_clips_are_left_out_and_named(songs: Path, cache: Path, tmp_path: Path):
    data = labelled_audio(songs / "clips.csv")
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no sound")
    clips = (dataclasses.replace(data.clips[0], path=bad), *data.clips[1:])
    examples = examples_from_audio(dataclasses.replace(data, clips=clips), SPEC, cache)
    assert len(examples.clips) == len(clips) - 1
    assert [path for path, _ in examples.skipped] == [bad]
    lost = tuple(c if c.label == "calm" else dataclasses.replace(c, path=bad) for c in data.clips)
    with pytest.raises(MerError, match=r"no clip of tense can be used \(20 clips cannot; .*bad.wav: "):
        examples_from_audio(dataclasses.replace(data, clips=lost), SPEC, cache)


def test_near_copies_are_one_group_and_one_recording(songs: Path, cache: Path, tmp_path: Path):
    """Copied under another label and artist: the groups of both are one, all their clips included."""
    data = labelled_audio(songs / "clips.csv")
    first, last = data.clips[0], data.clips[-1]
    sound = noise(4, 16_000)
    soundfile.write(tmp_path / "original.wav", sound, 16_000)
    soundfile.write(tmp_path / "copy.wav", 0.3 * sound, 16_000)
    more = (
        Clip(tmp_path / "original.wav", first.label, first.group, name="original.wav"),
        Clip(tmp_path / "copy.wav", last.label, last.group, name="copy.wav"),
    )
    examples = examples_from_audio(dataclasses.replace(data, clips=(*data.clips, *more)), SPEC, cache)
    assert examples.copies == ((40, 41),)
    before, after = first.group, {clip.group for clip in examples.clips}
    assert {clip.group for clip in data.clips} - after == {last.group}
    assert {clip.group for clip in examples.clips if clip.path == last.path} == {before}
    assert examples.recordings == [*range(40), 40, 40]
    assert [clip.id for clip in examples.readable] == [clip.id for clip in (*data.clips, *more)]


def test_sub_clips_know_their_song(songs: Path, cache: Path):
    data = labelled_audio(songs / "clips.csv")
    examples = examples_from_audio(data, SPEC, cache, 1, sub_clips=3)  # of 1 s, and the songs have 2
    assert len(examples.clips) == len(examples.decibels) == 80
    assert [examples.readable[song].path for song in examples.songs] == [clip.path for clip in examples.clips]
    assert {part.shape[1] for part in examples.decibels} == {32}
    floor = 10 * np.log10(SPEC.amin)
    for part, windows in zip(examples.decibels, examples.windows, strict=True):
        assert np.array_equal(np.maximum(part, floor)[None], windows)
    assert examples.grouped_by == "group"
    assert examples.counts() == {"calm": 40, "tense": 40}


@pytest.mark.parametrize("sub_clips", [0, 3])
def test_more_clips_than_files_that_may_be_open(sub_clips: int, songs: Path, cache: Path, examples: Examples):
    """Many systems allow a process 1,024 open files; a clip has two in the cache."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = len(os.listdir("/dev/fd")) + 12
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        few = examples_from_audio(labelled_audio(songs / "clips.csv"), SPEC, cache, sub_clips=sub_clips)
        shapes = {
            (part.shape[0], *windows.shape[1:])
            for part, windows in zip(few.decibels, few.windows, strict=True)
        }
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not few.skipped
    assert len(few.readable) == 40
    assert shapes == {(32, 32, 32)}


def test_tags_that_can_be_learnt(examples: Examples):
    tags = [("all", "few") if i < 3 else ("all", f"part {i % 2}") for i in range(40)]
    clips = [dataclasses.replace(clip, tags=own) for clip, own in zip(examples.clips, tags, strict=True)]
    tagged = dataclasses.replace(examples, clips=tuple(clips))
    names, rows = tag_targets(tagged, np.arange(20))
    assert names == ("part 0", "part 1")
    assert rows.shape == (40, 2)
    assert rows[:5].tolist() == [[0, 0], [0, 0], [0, 0], [0, 1], [1, 0]]


def test_standardised_log_mels_have_mean_0_and_deviation_1(examples: Examples):
    windows = np.concatenate([np.asarray(windows, np.float64) for windows in examples.windows])
    plain = dataclasses.replace(SPEC, reference="one", top_db=None)
    spec = standardised(plain, examples.windows)
    assert np.allclose((*spec.mean, *spec.std), (windows.mean(), windows.std()))
    # Of each window, where dB are relative to its mean power.
    relative = windows - 10 * np.log10(np.power(10, windows / 10).mean(axis=(1, 2), keepdims=True))
    relative = np.maximum(relative, relative.max(axis=(1, 2), keepdims=True) - 50)
    spec = standardised(dataclasses.replace(SPEC, reference="mean", top_db=50.0), examples.windows)
    assert np.allclose((*spec.mean, *spec.std), (relative.mean(), relative.std()), rtol=1e-4)
    fixed = dataclasses.replace(SPEC, mean=(-20.0,), std=(20.0,))
    assert standardised(fixed, examples.windows) == fixed


@pytest.mark.parametrize(("rates", "end"), [([16_000] * 20, 7_950), ([16_000] * 17 + [44_100] * 3, 15_000)])
def test_where_nearly_all_clips_end(rates: list[int], end: float, cache: Path, tmp_path: Path):
    """At half of their sample rate, whatever the network could hear."""
    clips = []
    for number, rate in enumerate(rates):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, noise(2, rate, seed=number), rate)
        clips.append(Clip(path, "a", str(number), name=path.name))
    spec = dataclasses.replace(PRESETS["audioset"], frames=100, window_samples=32_000)
    examples = examples_from_audio(LabelledAudio(tuple(clips), ("a",), "clip"), spec, cache)
    assert end_of_band(spec, examples) == pytest.approx(end, rel=0.03)


def test_what_pairs_connect_takes_no_time_that_grows_with_its_square():
    """20,000 pairs took 37 s."""
    pairs = [(2 * i, 2 * i + 1) for i in range(20_000)]
    began = time.process_time()
    assert len(connected(pairs)) == 20_000
    chain = connected([(i, i + 1) for i in range(20_000)][::-1])
    assert time.process_time() - began < 5  # 0.1 s alone
    assert chain == (tuple(range(20_001)),)
    assert connected([("b", "a"), ("d", "c"), ("a", "a"), ("e", "d")]) == (("a", "b"), ("c", "d", "e"))
    assert connected([(1, 2), (3, 4), (2, 3)]) == ((1, 2, 3, 4),)
    assert connected([]) == ()
