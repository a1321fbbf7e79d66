"""Which clips calibrate and which score; ranges in chunks and by hash."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from merkit.engine.data.labelled_audio import Clip, LabelledAudio, labelled_audio
from merkit.engine.errors import MerError
from merkit.engine.spec import QUADRANTS, AudioSpec, ModelSpec
from merkit.export import calibration
from merkit.export.calibration import cached_ranges, calibration_key, ranges_from_log_mels
from merkit.export.calibration_set import (
    SongLogMels,
    calibration_paths,
    generated_log_mels,
    log_mels_from_archive,
    log_mels_from_songs,
    split_clips,
)
from merkit.export.precision import layers_to_quantize, tensors_to_quantize
from merkit.export.sensitivity import open_session, rank_layers
from small_networks import AUDIO, small_network, write_music


def data(count: int = 40) -> LabelledAudio:
    clips = tuple(Clip(Path(f"{at}.wav"), QUADRANTS[at % 4], f"artist {at // 4}") for at in range(count))
    return LabelledAudio(clips, QUADRANTS, "artist")


def test_the_models_own_split_is_used() -> None:
    spec = ModelSpec("x", QUADRANTS, AUDIO, provenance={"test_clips": ["1", "2", "7"]})
    split = split_clips(data(), spec)
    assert sorted(clip.path.stem for clip in split.test) == ["1", "2", "7"]
    assert len(split.train) == 37
    assert "provenance holds out" in split.origin


@pytest.mark.parametrize("provenance", [{}, {"test_clips": ["from elsewhere"]}, {"test_clips": 3}])
def test_without_one_a_split_by_artist_is_made_and_said(provenance: dict[str, object]) -> None:
    split = split_clips(data(), ModelSpec("x", QUADRANTS, AUDIO, provenance=provenance))
    assert not {clip.group for clip in split.test} & {clip.group for clip in split.train}
    assert len(split.test) == 8
    assert "80/20 by artist" in split.origin
    assert "may have been trained" in split.origin
    assert split == split_clips(data(), ModelSpec("x", QUADRANTS, AUDIO, provenance=provenance))


def test_data_that_cannot_be_split_or_has_other_labels() -> None:
    with pytest.raises(MerError, match="too little data"):
        split_clips(data(8), ModelSpec("x", QUADRANTS, AUDIO))
    with pytest.raises(MerError, match="happy, sad, tense not in calm, party"):
        split_clips(data(), ModelSpec("x", ("calm", "party"), AUDIO))


def test_calibration_takes_the_labels_by_turns_and_as_many_songs_as_it_can() -> None:
    labels = {clip.path: clip.label for clip in data(400).clips}
    songs, windows = calibration_paths(data(400).clips, 100)
    assert (len(set(songs)), windows) == (100, 1)
    assert set(Counter(labels[song] for song in songs).values()) == {25}
    songs, windows = calibration_paths(data(40).clips, 100)
    assert (len(set(songs)), windows) == (40, 3)


def test_windows_are_spread_over_songs() -> None:
    images = np.arange(6, dtype=np.float32).reshape(6, 1, 1, 1)
    songs = SongLogMels(images, (np.asarray([0, 1, 2]), np.asarray([3]), np.asarray([4, 5])), ())
    assert songs.spread(4).ravel().tolist() == [0, 3, 4, 1]
    assert songs.spread(99).ravel().tolist() == [0, 3, 4, 1, 5, 2]


def test_songs_become_images_and_a_broken_one_is_named(tmp_path: Path) -> None:
    paths = [clip.path for clip in labelled_audio(write_music(tmp_path)).clips[:3]]
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"nothing")
    found = log_mels_from_songs([paths[0], broken, *paths[1:]], AUDIO, 2, workers=1)
    assert found.paths == tuple(paths)
    assert [path for path, _ in found.failed] == [broken]
    assert found.images.shape == (6, 1, AUDIO.n_mels, AUDIO.frames)
    alone = log_mels_from_songs([paths[2]], AUDIO, 2, workers=1)
    np.testing.assert_array_equal(found.images[found.songs[2]], alone.images)
    with pytest.raises(MerError, match="none of 1 files"):
        log_mels_from_songs([broken], AUDIO, 2, workers=1)


def test_an_archive_of_images_of_another_spec_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "windows.npz"
    images = np.zeros((3, 1, AUDIO.n_mels, AUDIO.frames), np.float32)
    np.savez(path, images=images, audio_spec=AUDIO.to_json())
    assert len(log_mels_from_archive(path, AUDIO).images) == 3
    with pytest.raises(MerError, match="another AudioSpec"):
        log_mels_from_archive(path, AudioSpec())
    np.savez(path, images=images[:, :, 1:], audio_spec=AUDIO.to_json())
    with pytest.raises(MerError, match="not \\[n, 1, 32, 32\\]"):
        log_mels_from_archive(path, AUDIO)
    np.savez(path, images=images)
    with pytest.raises(MerError, match="audio_spec"):
        log_mels_from_archive(path, AUDIO)
    path.write_bytes(b"nothing")
    with pytest.raises(MerError, match="no archive"):
        log_mels_from_archive(path, AUDIO)


def test_generated_sound_is_the_same_each_time_and_varied() -> None:
    first, again = generated_log_mels(AUDIO, 6).images, generated_log_mels(AUDIO, 6).images
    np.testing.assert_array_equal(first, again)
    assert np.isfinite(first).all()
    assert np.ptp(first.mean(axis=(1, 2, 3))) > 3  # dB


def test_ranges_are_what_the_network_gives_and_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_network()
    tensors = tensors_to_quantize(model, layers_to_quantize(model))
    images = generated_log_mels(AUDIO, 6).images
    done: list[int] = []
    found = ranges_from_log_mels(model.SerializeToString(), images, tensors, "minmax", done.append)
    assert done == [4, 6]
    model.graph.output.extend(value for value in model.graph.value_info if value.name in tensors)
    for name in set(tensors) - {"images"}:
        values = np.asarray(open_session(model.SerializeToString()).run([name], {"images": images})[0])
        assert found[name] == pytest.approx((values.min(), values.max()), rel=1e-3, abs=1e-4)
    model = small_network()
    monkeypatch.setattr(calibration, "_WINDOWS_AT_ONCE", 100)
    at_once = ranges_from_log_mels(model.SerializeToString(), images, tensors, "minmax")
    assert {name: pytest.approx(pair, rel=1e-5) for name, pair in at_once.items()} == found


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_histogram_methods_stay_within_the_extremes(method: str) -> None:
    model = small_network()
    tensors = tensors_to_quantize(model, layers_to_quantize(model))
    images = generated_log_mels(AUDIO, 6).images
    extremes = ranges_from_log_mels(model.SerializeToString(), images, tensors, "minmax")
    found = ranges_from_log_mels(model.SerializeToString(), images, tensors, method)
    assert set(found) == set(tensors)
    for name, pair in found.items():
        assert 0 < max(map(abs, pair)) <= 1.02 * max(map(abs, extremes[name]))


def test_ranges_are_kept_by_hash(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> dict[str, tuple[float, float]]:
        made.append(1)
        return {"a": (-1.0, 2.0)}

    assert cached_ranges("k", make) == cached_ranges("k", make) == {"a": (-1.0, 2.0)}
    assert made == [1]
    (file,) = (tmp_path / "mer-home" / "calibration").iterdir()
    file.write_text("{")
    assert cached_ranges("k", make) == {"a": (-1.0, 2.0)}
    assert made == [1, 1]


def test_the_key_changes_with_all_that_matters(tmp_path: Path) -> None:
    one, other = tmp_path / "1", tmp_path / "2"
    one.write_bytes(b"1")
    other.write_bytes(b"2")
    keys = {
        calibration_key("m", ["t"], "minmax", [one], 3),
        calibration_key("n", ["t"], "minmax", [one], 3),
        calibration_key("m", ["u"], "minmax", [one], 3),
        calibration_key("m", ["t"], "entropy", [one], 3),
        calibration_key("m", ["t"], "minmax", [other], 3),
        calibration_key("m", ["t"], "minmax", [one], 4),
    }
    assert len(keys) == 6
    with pytest.raises(MerError, match="cannot be read"):
        calibration_key("m", ["t"], "minmax", [tmp_path / "none"], 3)


def test_the_layer_that_int8_hurts_is_ranked_first() -> None:
    model = small_network()
    tensors = tensors_to_quantize(model, layers_to_quantize(model))
    images = generated_log_mels(AUDIO, 4).images
    ranges = dict(ranges_from_log_mels(model.SerializeToString(), images, tensors, "minmax"))
    (head,) = [node.input[0] for node in model.graph.node if node.name == "head"]
    ranges[head] = (-1e6, 1e6)  # one step of int8 is larger than all the values
    ranked = rank_layers(model, ranges, images)
    assert ranked[0].layer == "head"
    assert ranked[0].error > 10 * ranked[1].error
    assert [each.layer for each in rank_layers(model, ranges, images, keep=["head"])] == [
        each.layer for each in ranked[1:]
    ]
