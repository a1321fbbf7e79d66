"""Which songs calibrate, and what a report says of them."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from merkit.engine.artifact import open_artifact
from merkit.engine.data.labelled_audio import Clip, labelled_audio
from merkit.engine.errors import MerError, UsageError
from merkit.engine.spec import QUADRANTS
from merkit.export import calibration_set as calibration_sets
from merkit.export.calibration_set import CalibrationSet, calibration_paths
from merkit.export.precision import layers_to_quantize, tensors_to_quantize
from merkit.export.song_log_mels import SongLogMels, log_mels_from_songs
from small_networks import AUDIO, small_network

NETWORK = small_network()
TENSORS = tensors_to_quantize(NETWORK, layers_to_quantize(NETWORK))


def write_archive(path: Path, windows: int, scale: float = 10.0) -> Path:
    images = np.random.default_rng(0).normal(0, scale, (windows, 1, AUDIO.n_mels, AUDIO.frames))
    np.savez(path, images=images.astype(np.float32), audio_spec=AUDIO.to_json())
    return path


def clips_of(count: int) -> list[Clip]:
    return [Clip(Path(f"{i}.wav"), QUADRANTS[i % 4], f"artist {i // 4}") for i in range(count)]


def test_calibration_takes_the_labels_by_turns_and_as_many_songs_as_it_can() -> None:
    labels = {clip.path: clip.label for clip in clips_of(400)}
    songs, windows, spare = calibration_paths(clips_of(400), 100)
    assert (len(set(songs)), windows) == (100, 1)
    assert set(Counter(labels[song] for song in songs).values()) == {25}
    assert len({*songs, *spare}) == len(songs) + 25
    songs, windows, spare = calibration_paths(clips_of(40), 100)
    assert (len(set(songs)), windows, spare) == (40, 3, [])
    with pytest.raises(MerError, match="no song"):
        calibration_paths([], 100)


def test_clips_that_are_scored_do_not_calibrate(music: Path, tmp_path: Path) -> None:
    """By their bytes: a copy under another name is the same clip."""
    clips = labelled_audio(music).clips
    (tmp_path / "copy.wav").write_bytes(clips[0].path.read_bytes())
    taken = [Clip(tmp_path / "copy.wav", "", ""), *clips[:3]]
    songs, windows, _ = calibration_paths(taken, 6, {clips[0].id})
    assert sorted(songs) == sorted(clip.path for clip in clips[1:3])
    assert windows == 3
    with pytest.raises(MerError, match="no song"):
        calibration_paths(taken[:2], 6, {clips[0].id})


def test_clips_or_a_folder_or_an_archive_calibrate(music: Path, tmp_path: Path) -> None:
    clips = labelled_audio(music).clips[:3]
    of_clips = CalibrationSet(AUDIO, clips, None, "not held out: these", 6, workers=1)
    assert of_clips.log_mels.log_mels.shape == (6, 1, AUDIO.n_mels, AUDIO.frames)
    of_folder = CalibrationSet(AUDIO, (), str(music.parent), "music", 8, "minmax", workers=1)
    assert of_folder.log_mels.log_mels.shape == (8, 1, AUDIO.n_mels, AUDIO.frames)
    archive = write_archive(tmp_path / "windows.npz", 3)
    of_archive = CalibrationSet(AUDIO, (), str(archive), archive.name)
    assert of_archive.log_mels.log_mels.shape == (3, 1, AUDIO.n_mels, AUDIO.frames)
    with pytest.raises(UsageError, match="not a local file"):
        _ = CalibrationSet(AUDIO, (), "s3://bucket/songs/", "").log_mels
    listed = tmp_path / "list.csv"
    listed.write_text(f"path\n{clips[0].path}\nhttps://example.org/a.mp3\n")
    with pytest.raises(UsageError, match=r"list\.csv names https://example\.org/a\.mp3: copy the music to"):
        _ = CalibrationSet(AUDIO, (), str(listed), "").log_mels


def test_a_file_without_audio_takes_no_share_of_the_windows(music: Path, tmp_path: Path) -> None:
    clips = labelled_audio(music).clips[:3]
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    (tmp_path / "torn.wav").write_bytes(b"RIFF")
    broken = [Clip(tmp_path / name, "", name) for name in ("broken.wav", "torn.wav")]
    songs = CalibrationSet(AUDIO, (*clips, *broken), None, "those", 5, workers=1).log_mels
    assert len(songs.spread(5)) == 5
    assert sorted(songs.paths) == sorted(clip.path for clip in clips)
    assert sorted(path.name for path, _ in songs.failed) == ["broken.wav", "torn.wav"]


def test_the_next_songs_take_the_place_of_files_without_audio(
    music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The windows of the others stay as they are, and none is decoded twice."""
    decoded: list[tuple[int, int]] = []

    def counted(paths: Sequence[Path], spec: Any, windows: int, *more: Any) -> SongLogMels:
        decoded.append((len(paths), windows))
        return log_mels_from_songs(paths, spec, windows, *more)

    monkeypatch.setattr(calibration_sets, "log_mels_from_songs", counted)
    clips = labelled_audio(music).clips[:12]
    before = CalibrationSet(AUDIO, clips, None, "those", 8, workers=1)
    paths, _, spare = calibration_paths(clips, 8)
    torn = {path: tmp_path / path.name for path in (paths[2], paths[5])}
    for path in torn.values():
        path.write_bytes(b"RIFF")
    with_torn = tuple(dataclasses.replace(clip, path=torn.get(clip.path, clip.path)) for clip in clips)
    songs = CalibrationSet(AUDIO, with_torn, None, "those", 8, workers=1).log_mels
    assert decoded == [(8, 1)]
    assert songs.paths == (*(path for path in paths if path not in torn), *spare)
    assert sorted(path for path, _ in songs.failed) == sorted(torn.values())
    old, new = before.log_mels.spread(8), songs.spread(8)
    np.testing.assert_array_equal(new[:6], np.delete(old, [2, 5], axis=0))


def test_nothing_is_read_before_it_is_needed(tmp_path: Path) -> None:
    later = CalibrationSet(AUDIO, (), f"{tmp_path}/later.npz", "later.npz")
    with pytest.raises(MerError, match=r"later\.npz cannot be read: no such file"):
        _ = later.log_mels


def test_the_same_files_are_calibrated_on_once(model: Path, music: Path, tmp_path: Path) -> None:
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(AUDIO.window_samples), AUDIO.sample_rate)
    clips = (*labelled_audio(music).clips[:2], Clip(silent, "happy", "alone"))
    artifact = open_artifact(str(model))
    lines: list[str] = []
    calibration_set = CalibrationSet(AUDIO, clips, None, "those", 6, "minmax", 1)
    calibration = calibration_set.calibration(artifact, TENSORS, lines.append)
    assert set(calibration.ranges) == set(TENSORS)
    assert lines[0] == "  calibrating (minmax) on 6 windows of 2 files"
    assert lines[1].startswith(f"skipped {silent}: ")
    weakness = "6 different windows, and 64 or more are needed; the windows hardly differ, or hardly change"
    assert lines[2:] == [f"warning: INT8 is calibrated on too little: {weakness}"]
    assert calibration_set.facts_of(calibration) == {
        "method": "minmax",
        "windows": 6,
        "files": 2,
        "skipped": [["silent.wav", lines[1].partition(": ")[2]]],
        "weakness": weakness,
        "data": "those",
    }
    again: list[str] = []
    assert dataclasses.replace(calibration_set).calibration(artifact, TENSORS, again.append) == calibration
    assert again == lines[1:]


def test_a_file_whose_name_is_not_utf8_leaves_the_cache_as_good(
    model: Path, music: Path, tmp_path: Path
) -> None:
    broken = tmp_path / os.fsdecode(b"caf\xe9.wav")
    broken.write_bytes(b"no audio")
    clips = (*labelled_audio(music).clips[:2], Clip(broken, "happy", "x"))
    calibration_set = CalibrationSet(AUDIO, clips, None, "those", 6, "minmax", 1)
    said: list[str] = []
    calibration_set.calibration(open_artifact(str(model)), TENSORS, said.append)
    assert any("calibrating" in line for line in said)
    said.clear()
    anew = dataclasses.replace(calibration_set)
    facts = anew.facts_of(anew.calibration(open_artifact(str(model)), TENSORS, said.append))
    assert not any("calibrating" in line for line in said)
    assert facts["skipped"][0][0] == "caf\\xe9.wav"


def test_a_file_that_failed_once_is_not_left_out_for_good(
    model: Path, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder's time was up, or a disk was full."""
    clips, artifact = labelled_audio(music).clips[:3], open_artifact(str(model))
    calibration_set = CalibrationSet(AUDIO, clips, None, "those", 6, "minmax", 1)
    unlucky = calibration_paths(clips, 6)[0][1]

    def busy(paths: Sequence[Path], *more: Any) -> SongLogMels:
        songs = log_mels_from_songs([path for path in paths if path != unlucky], *more)
        return dataclasses.replace(songs, failed=((unlucky, "it took longer than 60 s"),))

    lines: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(calibration_sets, "log_mels_from_songs", busy)
        assert calibration_set.calibration(artifact, TENSORS, lines.append).files == 2
    assert f"skipped {unlucky}: it took longer than 60 s" in lines
    for said in ("  calibrating (minmax) on 6 windows of 3 files", "warning: "):  # then it is in the cache
        again: list[str] = []
        calibration = dataclasses.replace(calibration_set).calibration(artifact, TENSORS, again.append)
        assert (calibration.files, calibration.skipped) == (3, ())
        assert again[0].startswith(said)


def test_what_is_skipped_is_named_where_it_lies_now(model: Path, music: Path, tmp_path: Path) -> None:
    """And by its reason of today; the others are not decoded for it."""
    artifact, clips = open_artifact(str(model)), labelled_audio(music).clips[:2]
    for folder in (tmp_path / "before", tmp_path / "after"):
        folder.mkdir()
        (folder / "broken.wav").write_bytes(b"no audio")
        of_both = (*clips, Clip(folder / "broken.wav", "happy", "x"))
        lines: list[str] = []
        of_those = CalibrationSet(AUDIO, of_both, None, "those", 6, "minmax", 1)
        (skipped,) = of_those.calibration(artifact, TENSORS, lines.append).skipped
        assert skipped[0] == folder / "broken.wav"
        assert f"skipped {folder}/broken.wav: {skipped[1]}" in lines
        (folder / "broken.wav").unlink()
    assert not any("calibrating" in line for line in lines)


def test_too_little_music_is_refused_where_no_score_shows_what_it_does(model: Path, tmp_path: Path) -> None:
    artifact = open_artifact(str(model))
    for windows, scale, message in ((44, 10, "44 different windows, and 64 or more"), (70, 0, "1 different")):
        archive = write_archive(tmp_path / "windows.npz", windows, scale)
        loose = CalibrationSet(AUDIO, (), str(archive), "", 256, "minmax")
        strict = dataclasses.replace(loose, strict=True)
        with pytest.raises(MerError, match=f"too little to calibrate INT8 on: {message}"):
            strict.calibration(artifact, TENSORS, print)
        loose.calibration(artifact, TENSORS, lambda line: None)  # it is in the cache from now on
        with pytest.raises(MerError, match="too little to calibrate INT8 on"):
            strict.calibration(artifact, TENSORS, print)
    archive = write_archive(tmp_path / "windows.npz", 70)
    lines: list[str] = []
    enough = CalibrationSet(AUDIO, (), str(archive), "", 256, "minmax", strict=True)
    assert enough.calibration(artifact, TENSORS, lines.append).windows == 70
    assert lines == ["  calibrating (minmax) on 70 windows of 1 files"]


def test_ranges_are_those_of_this_model_method_and_number(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two networks of one name, or other choices, never share what is in the cache."""
    keys: list[str] = []
    kept = {"ranges": {}, "windows": 1, "files": 1, "silent": [], "weakness": ""}
    monkeypatch.setattr(calibration_sets, "cached", lambda key, *_: keys.append(key) or kept)
    plain = CalibrationSet(AUDIO, (), str(write_archive(tmp_path / "windows.npz", 3)), "")
    artifact = open_artifact(str(model))
    for chosen, of_model in (
        (plain, artifact),
        (plain, dataclasses.replace(artifact, sha256="0" * 64)),
        (dataclasses.replace(plain, method="entropy"), artifact),
        (dataclasses.replace(plain, windows=128), artifact),
        (plain, artifact),
    ):
        chosen.calibration(of_model, TENSORS, print)
    assert len(set(keys)) == 4
    assert keys[0] == keys[-1]


def test_windows_are_of_as_many_songs_as_there_are(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not all those of the first songs."""
    given: list[np.ndarray] = []

    def ranges(content: bytes, log_mels: np.ndarray, tensors: Any, method: str) -> dict[str, Any]:
        given.append(log_mels)
        return dict.fromkeys(tensors, (0.0, 1.0))

    windows = np.random.default_rng(0).normal(0, 10, (9, 1, AUDIO.n_mels, AUDIO.frames)).astype(np.float32)
    songs = SongLogMels(windows, tuple(np.arange(start, start + 3) for start in (0, 3, 6)))
    monkeypatch.setattr(calibration_sets, "ranges_from_log_mels", ranges)
    monkeypatch.setattr(calibration_sets, "log_mels_from_songs", lambda *_: songs)
    of_clips = CalibrationSet(AUDIO, tuple(clips_of(3)), None, "", 3)
    of_clips.calibration(open_artifact(str(model)), TENSORS, lambda line: None)
    np.testing.assert_array_equal(given[0], windows[[0, 3, 6]])
