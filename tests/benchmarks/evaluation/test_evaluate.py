"""What is scored is what mer-label says; what a model has heard is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from level_network import write_noise
from merkit import Labeler
from merkit.benchmarks.evaluation.evaluate import Options, evaluate
from merkit.engine.data.clip import HEARD_KEY, HELD_OUT_KEY, clip_names, heard_text
from merkit.engine.data.labelled_audio import labelled_audio
from merkit.engine.errors import MerError
from sklearn.metrics import accuracy_score, f1_score, log_loss

NAMES = ("loud", "quiet")


def test_the_scores_are_of_what_mer_label_says(model: Path, clips: Path) -> None:
    paths = sorted(clips.rglob("*.wav"))
    with Labeler(model, workers=1) as labeler:
        songs = list(labeler.label_files(paths))
    truth = [path.parent.name for path in paths]
    said = [song.emotion or "" for song in songs]
    result = evaluate([str(model)], clips, Options(workers=1)).models[0].scores
    assert result.accuracy == pytest.approx(accuracy_score(truth, said)) == pytest.approx(9 / 12)
    assert result.macro_f1 == pytest.approx(f1_score(truth, said, average="macro"))
    probabilities = np.array([song.probabilities for song in songs])
    assert result.log_loss == pytest.approx(log_loss(truth, probabilities, labels=NAMES), abs=1e-5)
    assert result.confusion == ((4, 2), (1, 5))
    # All wrong ones, the surest first: -40 and -15 dB are far from the edge
    assert [Path(clip.path).name for clip in result.wrong][2] == "loud5.wav"
    assert {Path(clip.path).name for clip in result.wrong[:2]} == {"loud4.wav", "quiet5.wav"}


def test_several_models_are_compared_on_the_same_clips(
    model: Path, make_model: Callable[..., Path], clips: Path
) -> None:
    other = make_model("edge33", edge_db=-33)
    lines: list[str] = []
    done = evaluate(
        [str(model), str(other), "@".join((str(model), "null"))], clips, Options(workers=1), lines.append
    )
    first, second, null = done.models
    assert (first.name, second.name, null.name) == (str(model), "edge33", f"{model}@null")
    assert (first.difference, null.runtime) == (None, "null")
    assert second.difference is not None
    # -30 in loud/ is right now; -31, -30 and -28 in quiet/ are wrong
    assert second.difference.accuracy == pytest.approx(-2 / 12)
    assert second.difference.other_answers == 4
    assert second.difference.macro_f1 == pytest.approx(second.scores.macro_f1 - first.scores.macro_f1)
    assert second.difference.macro_f1_interval is None  # six artists
    values = json.loads(json.dumps(done.to_mapping()))
    assert values["accuracy"] == 0.75
    assert [other["name"] for other in values["others"]] == ["edge33", f"{model}@null"]
    assert (values["clips"], values["groups"], values["grouped_by"]) == (12, 6, "artist")
    assert (values["clips_by_label"], values["difference"]) == ({"loud": 6, "quiet": 6}, None)


def test_labels_are_renamed_and_left_out(
    make_model: Callable[..., Path], clips: Path, tmp_path: Path
) -> None:
    rows = ["path,label", *(f"{path},{path.stem}" for path in sorted(clips.rglob("*[01].wav")))]
    (tmp_path / "own.csv").write_text("\n".join(rows))
    model = make_model(labels=("party", "calm", "sad"))
    renamed = ("loud0=dance", "loud1=dance", "party=dance", "quiet0=CALM", "quiet1=")
    done = evaluate([str(model)], tmp_path / "own.csv", Options(renamed=renamed, workers=1))
    assert (done.labels, done.left_out, done.grouped_by) == ({"dance": 2, "calm": 1}, 1, "clip")
    scores = done.models[0].scores
    assert (scores.accuracy, scores.columns) == (1, ("dance", "calm"))


def test_errors_are_wrong_answers_and_said(model: Path, tmp_path: Path) -> None:
    write_noise(tmp_path / "loud" / "a.wav", -20, 1)
    write_noise(tmp_path / "quiet" / "b.wav", -40, 2)
    write_noise(tmp_path / "quiet" / "silent.wav", -200, 3)
    (tmp_path / "quiet" / "नींद.wav").write_bytes(b"RIFF")
    lines: list[str] = []
    scores = evaluate([str(model)], tmp_path, Options(workers=1), lines.append).models[0].scores
    assert (scores.accuracy, sum(scores.no_emotion.values())) == (0.5, 2)
    assert scores.confusion == ((1, 0, 0), (0, 1, 2))
    assert any("नींद.wav: " in line and "no label for" in line for line in lines)


def test_clips_that_a_model_heard_are_counted_and_can_be_left_out(
    make_model: Callable[..., Path], clips: Path
) -> None:
    data = labelled_audio(clips).clips
    heard = [clip for clip in data if clip.path.stem in ("loud0", "quiet1")]
    model = make_model(**{HEARD_KEY: heard_text(heard)})
    lines: list[str] = []
    result = evaluate([str(model)], clips, Options(workers=1), lines.append).models[0]
    assert result.heard == 2
    assert result.note in lines[0]
    assert (
        "warning: it was trained on 2 of these 12 clips, and on other clips of the same artist as 2 more"
        in lines[0]
    )
    done = evaluate([str(model)], clips, Options(workers=1, unheard=True), lines.append)
    assert (done.clips, done.left_out, done.groups) == (8, 4, 4)
    assert (done.models[0].heard, done.models[0].note) == (0, "")
    nothing = make_model(**{HEARD_KEY: heard_text(data)})
    with pytest.raises(MerError, match="was trained on clips of every group"):
        evaluate([str(nothing)], clips, Options(workers=1, unheard=True))


def test_clips_that_a_model_heard_as_music_are_a_remark(make_model: Callable[..., Path], clips: Path) -> None:
    data = labelled_audio(clips).clips
    model = make_model(**{HEARD_KEY: heard_text(data[:1]), "unlabelled_clips": heard_text(data[:4])})
    result = evaluate([str(model)], clips, Options(workers=1)).models[0]
    assert result.heard == 1
    assert result.note.endswith("; it heard 3 of these 12 clips without their labels, as music")
    model = make_model(**{HEARD_KEY: "0123456789abcdef", "unlabelled_clips": heard_text(data)})
    done = evaluate([str(model)], clips, Options(workers=1, unheard=True))
    assert (done.clips, done.models[0].heard) == (12, 0)
    assert done.models[0].note == "it heard 12 of these 12 clips without their labels, as music"


def test_what_a_split_at_random_held_out_is_not_taken_for_new_artists(
    make_model: Callable[..., Path], clips: Path
) -> None:
    data = labelled_audio(clips).clips
    heard = [clip for clip in data if clip.label == "loud"]
    held_out = {HELD_OUT_KEY: clip_names(clip for clip in data if clip.label == "quiet")}
    model, lines = make_model(**held_out, **{HEARD_KEY: heard_text(heard)}), list[str]()
    result = evaluate([str(model)], clips, Options(workers=1, unheard=True), lines.append)
    assert (result.clips, result.models[0].heard) == (6, 0)
    assert "trained on other clips of the same artist as 6 of these 6 clips" in result.models[0].note
    assert result.models[0].note in lines[0]
    # Two of the artists it did not hear: by these alone what is new is to be judged.
    some = make_model(**held_out, **{HEARD_KEY: heard_text(heard[:4])})
    result = evaluate([str(some)], clips, Options(workers=1, unheard=True))
    assert (result.clips, result.groups, result.models[0].note) == (4, 2, "")


def test_older_models_say_only_what_they_held_out(
    model: Path, make_model: Callable[..., Path], clips: Path
) -> None:
    data = labelled_audio(clips).clips
    for held_out, note in (
        (data, ""),
        (data[:3], "it held out 3 of these 12 clips, and may have been trained on the others"),
        ((), "does not say which clips it was trained on"),
    ):
        made = make_model(**{HELD_OUT_KEY: clip_names(held_out)})
        result = evaluate([str(made)], clips, Options(workers=1)).models[0]
        assert note in result.note
        assert bool(note) == bool(result.note)
    with pytest.raises(MerError, match="level does not say what it heard"):
        evaluate([str(model)], clips, Options(workers=1, unheard=True))
