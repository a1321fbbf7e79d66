"""Which songs calibrate, and what a report says of them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from merkit.engine.artifact import open_artifact
from merkit.engine.data.labelled_audio import Clip, labelled_audio
from merkit.engine.errors import MerError
from merkit.engine.spec import QUADRANTS
from merkit.export.calibration_set import CalibrationSet, calibration_paths
from merkit.export.precision import layers_to_quantize, tensors_to_quantize
from small_networks import AUDIO, small_network


def clips_of(count: int) -> list[Clip]:
    return [Clip(Path(f"{i}.wav"), QUADRANTS[i % 4], f"artist {i // 4}") for i in range(count)]


def test_calibration_takes_the_labels_by_turns_and_as_many_songs_as_it_can() -> None:
    labels = {clip.path: clip.label for clip in clips_of(400)}
    songs, windows = calibration_paths(clips_of(400), 100)
    assert (len(set(songs)), windows) == (100, 1)
    assert set(Counter(labels[song] for song in songs).values()) == {25}
    songs, windows = calibration_paths(clips_of(40), 100)
    assert (len(set(songs)), windows) == (40, 3)
    with pytest.raises(MerError, match="no song"):
        calibration_paths([], 100)


def test_clips_or_a_folder_or_an_archive_calibrate(music: Path, tmp_path: Path) -> None:
    clips = labelled_audio(music).clips[:3]
    of_clips = CalibrationSet(AUDIO, clips, None, "not held out: these", 6, workers=1)
    assert of_clips.log_mels.log_mels.shape == (6, 1, AUDIO.n_mels, AUDIO.frames)
    assert of_clips.facts == {"method": "percentile", "windows": 6, "files": 3, "data": "not held out: these"}
    of_folder = CalibrationSet(AUDIO, (), str(music.parent), "music", 8, "minmax")
    assert of_folder.facts == {"method": "minmax", "windows": 8, "files": 8, "data": "music"}
    archive = tmp_path / "windows.npz"
    log_mels = np.zeros((3, 1, AUDIO.n_mels, AUDIO.frames), np.float32)
    np.savez(archive, images=log_mels, audio_spec=AUDIO.to_json())
    of_archive = CalibrationSet(AUDIO, (), str(archive), archive.name)
    np.testing.assert_array_equal(of_archive.log_mels.log_mels, log_mels)
    assert of_archive.facts["files"] == 1


def test_nothing_is_read_before_it_is_needed(tmp_path: Path) -> None:
    later = CalibrationSet(AUDIO, (), f"{tmp_path}/later.npz", "later.npz")
    assert later.facts["files"] == 1
    with pytest.raises(MerError, match=r"later\.npz is no archive"):
        _ = later.log_mels


def test_the_same_files_are_calibrated_on_once(model: Path, music: Path) -> None:
    artifact, network = open_artifact(str(model)), small_network()
    tensors = tensors_to_quantize(network, layers_to_quantize(network))
    lines: list[str] = []
    calibration_set = CalibrationSet(AUDIO, labelled_audio(music).clips[:2], None, "", 4, "minmax", 1)
    ranges = calibration_set.ranges(artifact, tensors, lines.append)
    assert set(ranges) == set(tensors)
    assert lines == ["  calibrating (minmax) on 4 windows of 2 songs"]
    again = dataclasses.replace(calibration_set)
    assert again.ranges(artifact, tensors, lines.append) == ranges
    assert len(lines) == 1
