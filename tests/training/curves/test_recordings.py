"""What a curve keeps on one side: near copies, and of other data all that touches what is tested."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from audio_files import noise
from merkit.engine.data.labelled_audio import Clip, LabelledAudio
from merkit.training.curves.recordings import apart_by_recording

_RATE = 16_000


def _clip(folder: Path, name: str, seed: int, group: str = "", level: float = 1.0) -> Clip:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, level * noise(4, _RATE, seed=seed), _RATE)
    return Clip(path, "ab"[seed % 2], group or f"clip:{name}", name=name)


def _data(*clips: Clip) -> LabelledAudio:
    return LabelledAudio(clips, ("a", "b"), "clip")


@pytest.fixture
def mine(tmp_path: Path) -> LabelledAudio:
    """Three recordings, one of them in two clips, and a clip that cannot be heard."""
    bad = tmp_path / "mine" / "bad.wav"
    bad.parent.mkdir()
    bad.write_bytes(b"no sound")
    clips = [_clip(tmp_path / "mine", f"{seed}.wav", seed) for seed in range(3)]
    copy = _clip(tmp_path / "mine", "copy.wav", 1, level=0.5)
    return _data(*clips, copy, Clip(bad, "a", "clip:bad.wav", name="bad.wav"))


def test_near_copies_are_one_group(mine: LabelledAudio, cache: Path):
    joined, touched, note = apart_by_recording(mine, [], cache, workers=1)
    groups = [clip.group for clip in joined.clips]
    assert groups == ["clip:0.wav", "clip:1.wav", "clip:2.wav", "clip:1.wav", "clip:bad.wav"]
    assert (touched, note) == (
        [],
        "1 near copy of another clip, the first copy.wav (of 1.wav): never on both sides",
    )


def test_other_data_touches_equal_clips_near_copies_and_their_groups(
    mine: LabelledAudio, cache: Path, tmp_path: Path
):
    equal = _clip(tmp_path / "other", "x.wav", 0)
    louder = _clip(tmp_path / "other", "y.wav", 1, "someone", level=0.8)
    by_someone = _clip(tmp_path / "other", "z.wav", 8, "someone")
    same_name = _clip(tmp_path / "other", "2.wav", 9)
    others = [_data(equal, louder), _data(by_someone, louder, same_name)]
    _, touched, _ = apart_by_recording(mine, others, cache, workers=1)
    assert [{*groups} & {clip.group for clip in mine.clips} for groups in touched[0]] == [
        {"clip:0.wav"},
        {"clip:1.wav"},
    ]
    first, second, third = touched[1]
    assert first == second == {"someone", "clip:1.wav"}
    assert third.isdisjoint(clip.group for clip in mine.clips)  # another file, in another data set


def test_artists_are_those_of_the_joined_groups(cache: Path, tmp_path: Path):
    mine = _data(
        _clip(tmp_path / "mine", "0.wav", 0, "One"),
        _clip(tmp_path / "mine", "1.wav", 0, "Two", level=0.5),
        _clip(tmp_path / "mine", "2.wav", 2, "Three"),
    )
    others = [_data(_clip(tmp_path / "other", "0.wav", 5, "two"), _clip(tmp_path / "other", "1.wav", 6, "x"))]
    joined, touched, _ = apart_by_recording(mine, others, cache, workers=1)
    assert [clip.group for clip in joined.clips] == ["One", "One", "Three"]
    assert touched == [(frozenset(["One"]), frozenset(["x"]))]
