"""Which clips score, and what is said of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from merkit.engine.data.labelled_audio import Clip, LabelledAudio, labelled_audio
from merkit.engine.errors import MerError
from merkit.engine.spec import QUADRANTS, ModelSpec
from merkit.export.eval_set import eval_set_from_clips, split_clips
from small_networks import AUDIO


def data(count: int = 40) -> LabelledAudio:
    clips = tuple(Clip(Path(f"{i}.wav"), QUADRANTS[i % 4], f"artist {i // 4}") for i in range(count))
    return LabelledAudio(clips, QUADRANTS, "artist")


def test_the_models_own_split_is_used() -> None:
    spec = ModelSpec("x", QUADRANTS, AUDIO, provenance={"test_clips": ["1", "2", "7"]})
    split = split_clips(data(), spec)
    assert sorted(clip.path.stem for clip in split.test) == ["1", "2", "7"]
    assert len(split.train) == 37
    assert "provenance holds out" in split.origin
    assert split.known


@pytest.mark.parametrize("provenance", [{}, {"test_clips": ["from elsewhere"]}, {"test_clips": 3}])
def test_without_one_a_split_by_artist_is_made_and_said(provenance: dict[str, object]) -> None:
    split = split_clips(data(), ModelSpec("x", QUADRANTS, AUDIO, provenance=provenance))
    assert not {clip.group for clip in split.test} & {clip.group for clip in split.train}
    assert len(split.test) == 8
    assert "80/20 by artist" in split.origin
    assert "may have been trained" in split.origin
    assert not split.known
    assert split == split_clips(data(), ModelSpec("x", QUADRANTS, AUDIO, provenance=provenance))


def test_data_that_cannot_be_split_or_has_other_labels() -> None:
    with pytest.raises(MerError, match="too little data"):
        split_clips(data(8), ModelSpec("x", QUADRANTS, AUDIO))
    with pytest.raises(MerError, match="happy, sad, tense not in calm, party"):
        split_clips(data(), ModelSpec("x", ("calm", "party"), AUDIO))


def test_held_out_clips_are_decoded_with_their_labels(music: Path) -> None:
    spec = ModelSpec("x", QUADRANTS, AUDIO, provenance={"test_clips": ["sad-0-0", "happy-1-1"]})
    lines: list[str] = []
    eval_set = eval_set_from_clips(split_clips(labelled_audio(music), spec), spec, 1, lines.append)
    assert eval_set.truth is not None
    by_path = dict(zip((path.stem for path in eval_set.songs.paths), eval_set.truth.tolist(), strict=True))
    assert by_path == {"sad-0-0": QUADRANTS.index("sad"), "happy-1-1": QUADRANTS.index("happy")}
    assert (eval_set.kind, eval_set.short) == ("clips", "2 held-out clips")
    assert lines == []


def test_unreadable_clips_and_a_made_split_are_warned_of(music: Path) -> None:
    spec = ModelSpec("x", QUADRANTS, AUDIO)
    split = split_clips(labelled_audio(music), spec)
    gone = dataclasses.replace(split.test[0], path=Path("/gone.wav"))
    lines: list[str] = []
    with pytest.raises(MerError, match="1 of 3 held-out files"):
        eval_set_from_clips(dataclasses.replace(split, test=(gone, *split.test[1:3])), spec, 1, lines.append)
    assert lines[0].startswith("warning: scored on a split of 80/20")
    assert lines[1].startswith("warning: /gone.wav ")
