"""Which kinds of split are made, of data with groups, with a split of its own, and with neither."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import soundfile
from audio_files import noise
from merkit.engine.data.labelled_audio import Clip, LabelledAudio, labelled_audio
from merkit.engine.errors import UsageError
from merkit.training.data.examples import Examples, examples_from_audio
from merkit.training.recipe import PROTOCOLS, with_overrides
from merkit.training.runs.session import run_session
from merkit.training.runs.settings import Session
from merkit.training.runs.split_kinds import splits_from_choice, with_possible_splits
from small_training import FAST, Says

BEST, HINDI, ICM = (PROTOCOLS[name] for name in ("best", "hindi-2022", "icm-2020"))


def _without_groups(data: LabelledAudio) -> LabelledAudio:
    clips = tuple(dataclasses.replace(clip, group=str(clip.path)) for clip in data.clips)
    return LabelledAudio(clips, data.labels, "clip")


def test_kinds_of_split(songs: Path):
    data = labelled_audio(songs / "clips.csv")
    assert splits_from_choice(None, BEST, data) == ("grouped",)
    assert splits_from_choice(None, HINDI, data) == ("random", "grouped")
    assert splits_from_choice("both", BEST, data) == ("random", "grouped")
    assert splits_from_choice("random", BEST, data) == ("random",)
    assert splits_from_choice("grouped", HINDI, data) == ("grouped",)
    alone = _without_groups(data)
    assert splits_from_choice(None, BEST, alone) == ("random",)
    assert splits_from_choice("grouped", BEST, alone) == ("grouped",)
    # Whether there are near copies is not known yet; and a clip's pieces are a group.
    for protocol, choice in ((HINDI, None), (ICM, None), (BEST, "both")):
        assert splits_from_choice(choice, protocol, alone) == ("random", "grouped")


def test_the_split_of_the_data_comes_first(songs: Path):
    data = labelled_audio(songs / "clips.csv")
    parts = dataclasses.replace(
        data,
        clips=tuple(
            dataclasses.replace(clip, part="training" if i % 4 else "test")
            for i, clip in enumerate(data.clips)
        ),
    )
    assert splits_from_choice(None, BEST, parts) == splits_from_choice(None, HINDI, parts) == ("given",)
    assert splits_from_choice("given", BEST, parts) == ("given",)
    assert splits_from_choice("grouped", BEST, parts) == ("grouped",)
    assert splits_from_choice("both", BEST, parts) == ("random", "grouped")
    with pytest.raises(UsageError, match="no given split"):
        splits_from_choice("given", BEST, data)


def test_without_groups_and_near_copies_there_is_no_grouped_split(
    songs: Path, cache: Path, examples: Examples, tmp_path: Path
):
    data = labelled_audio(songs / "clips.csv")
    both = Session(data, "songs", ("audiocnn",), HINDI, tmp_path, ("random", "grouped"))
    says = Says()
    assert with_possible_splits(both, {"audiocnn": examples}, says) is both
    alone = _without_groups(data)
    heard = {"audiocnn": examples_from_audio(alone, with_overrides(BEST, FAST).audio, cache)}
    assert with_possible_splits(dataclasses.replace(both, data=alone), heard, says).splits == ("random",)
    (line,) = says.lines
    assert line.startswith(
        "no grouped split beside the random one: no two clips are near copies, or known to"
    )
    grouped = dataclasses.replace(both, splits=("grouped",))
    # That data has groups, of which one clip each is left.
    assert with_possible_splits(grouped, heard, says) is grouped
    with pytest.raises(UsageError, match=r"^no grouped split: no two clips are near copies"):
        with_possible_splits(dataclasses.replace(grouped, data=alone), heard, says)
    each_its_own = dataclasses.replace(alone, grouped_by="artist")
    with pytest.raises(UsageError, match=r"no two clips are near copies, and each artist has one clip$"):
        with_possible_splits(dataclasses.replace(grouped, data=each_its_own), heard, says)


def test_near_copies_are_kept_on_one_side_beside_a_papers_random_split(cache: Path, tmp_path: Path):
    """Of data that names no artists, as MER500."""
    clips = []
    for number in range(12):
        for name, level in ((f"{number}.wav", 1.0), (f"{number}-copy.wav", 0.5)):
            soundfile.write(tmp_path / name, level * noise(4, 16_000, seed=number), 16_000)
            clips.append(Clip(tmp_path / name, "ab"[number % 2], f"clip:{name}", name=name))
    data = LabelledAudio(tuple(clips), ("a", "b"), "clip")
    protocol = dataclasses.replace(HINDI, weights="none")
    protocol = with_overrides(protocol, [*FAST, "epochs=1", "layers=all"])
    splits = splits_from_choice(None, protocol, data)
    session = Session(
        data,
        "songs",
        ("audiocnn",),
        protocol,
        tmp_path / "runs",
        splits,
        cache=cache,
        workers=1,
        export=False,
    )
    says = Says()
    runs, _ = run_session(session, says)
    assert [run.metrics["split"]["kind"] for run in runs] == ["random", "grouped"]
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["grouped", "random"]
    text = "\n".join(says.lines)
    assert "near copies of training clips" in text  # on the random split
    assert "grouped by recording: none stands on both sides" in text
    assert "gap, audiocnn: by window, random split" in text
