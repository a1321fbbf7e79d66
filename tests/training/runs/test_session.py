"""Names and choices become networks and splits."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from merkit.engine.data.labelled_audio import LabelledAudio, labelled_audio
from merkit.engine.errors import UsageError
from merkit.training.networks.backbones import PAPER_BACKBONES
from merkit.training.recipe import PROTOCOLS
from merkit.training.runs.session import Session, models_from_names, read_data, splits_from_choice, summary
from small_training import Trained

BEST, HINDI, ICM = (PROTOCOLS[name] for name in ("best", "hindi-2022", "icm-2020"))


def test_names_of_networks():
    assert models_from_names(["ResNet-18", "all"]) == (
        "resnet18",
        *(name for name in PAPER_BACKBONES if name != "resnet18"),
    )
    assert models_from_names(["audiocnn", "audiocnn"]) == ("audiocnn",)
    with pytest.raises(UsageError, match="unknown backbone 'resnet9'"):
        models_from_names(["resnet9"])


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
    assert splits_from_choice(None, HINDI, alone) == ("random",)
    assert splits_from_choice(None, ICM, alone) == ("random", "grouped")  # a clip's pieces are a group
    for choice in ("grouped", "both"):
        with pytest.raises(UsageError, match="nothing is known of groups here"):
            splits_from_choice(choice, BEST, alone)


def test_labels_in_the_order_given(songs: Path):
    assert read_data(songs, "auto", "tense, calm").labels == ("tense", "calm")
    assert read_data(songs, "auto", None).labels == ("calm", "tense")


def test_the_licence_of_a_job(songs: Path):
    session = Session(labelled_audio(songs), "songs", ("audiocnn",), BEST, Path("out"))
    assert "not stated" in session.job("audiocnn", BEST).licence
    licensed = dataclasses.replace(session, licence="CC-BY")
    assert licensed.job("audiocnn", BEST).licence == "CC-BY"


@pytest.mark.xdist_group("trained")
def test_summary(trained: Trained):
    first, folder = summary(trained.run).splitlines()
    assert first.startswith(
        f"audiocnn on {len(trained.split.test)} held-out songs (grouped split): macro-F1 "
    )
    assert folder == str(trained.run.folder)
