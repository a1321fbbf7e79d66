"""A head is scikit-learn's logistic regression on standardised embeddings, as one layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from merkit.engine.data.labelled_audio import Clip
from merkit.training.embeddings.head import fit_head, logits_from_head
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler


def _songs(labels: tuple[str, ...], count: int, apart: float = 1.5) -> tuple[list[np.ndarray], list[Clip]]:
    """Two windows a clip, one clip an artist and label; the labels' means are ``apart`` deviations apart."""
    rng = np.random.default_rng(0)
    features, clips = [], []
    for artist in range(count):
        for number, label in enumerate(labels):
            mean = apart * (np.arange(6) == number)
            features.append((5 + 3 * (mean + rng.normal(0, 1, (2, 6)))).astype(np.float32))
            clips.append(Clip(Path(f"{label}{artist}.wav"), label, f"artist {artist}"))
    return features, clips


@pytest.mark.parametrize("labels", [("a", "b"), ("a", "b", "c")])
def test_it_gives_the_probabilities_of_scikit_learn(labels: tuple[str, ...]):
    features, clips = _songs(labels, 12)
    head = fit_head(features, clips, labels)
    rows, targets = np.concatenate(features).astype(float), [clip.label for clip in clips for _ in range(2)]
    scaler = StandardScaler().fit(rows)
    theirs = LogisticRegression(C=head.strength, max_iter=1_000)
    theirs.fit(scaler.transform(rows), targets, sample_weight=np.full(len(rows), 0.5))
    logits = torch.from_numpy(np.concatenate(logits_from_head(head.layer, features)))
    ours = torch.softmax(logits, dim=1).numpy()
    assert np.allclose(ours, theirs.predict_proba(scaler.transform(rows)), atol=1e-4)


def test_what_inner_folds_say_is_of_other_groups():
    """Labels at random within artists that sound alike: only leaking groups could be right."""
    rng = np.random.default_rng(1)
    features, clips = [], []
    for artist in range(20):
        sound, label = rng.normal(0, 1, 40), "ab"[artist % 2]
        for number in range(4):
            features.append((sound + rng.normal(0, 0.01, (1, 40))).astype(np.float32))
            clips.append(Clip(Path(f"{artist}-{number}.wav"), label, f"artist {artist}"))
    head = fit_head(features, clips, ("a", "b"))
    assert head.macro_f1 is not None
    assert head.macro_f1 < 0.8  # 1.0 where an artist's other clips are told
    assert head.temperature > 1.5  # and it must not be sure


def test_the_temperature_is_of_the_windows_that_labelling_hears():
    """The mean over many windows is less sure than it is right; a single one is less so."""
    rng = np.random.default_rng(0)
    clips = [Clip(Path(f"{i}.wav"), "ab"[i % 2], f"artist {i}") for i in range(80)]
    songs = [i % 2 + rng.normal(0, 1, 2) for i in range(80)]
    many = [(song + rng.normal(0, 3, (12, 2))).astype(np.float32) for song in songs]
    learnt, heard, same = (
        fit_head(many, clips, ("a", "b"), heard=rows) for rows in ((), [rows[:1] for rows in many], many)
    )
    assert same.temperature == learnt.temperature
    assert heard.temperature > 2 * learnt.temperature
    assert (heard.strength, heard.macro_f1) == (learnt.strength, learnt.macro_f1)
    assert torch.equal(heard.layer.weight, learnt.layer.weight)


def test_labels_depend_less_on_what_a_bad_copy_changes():
    """Two features tell the label equally well; bad copies move the second."""
    rng = np.random.default_rng(3)
    features, clips = [], []
    for artist in range(60):
        label = artist % 2
        features.append((2.0 * label + rng.normal(0, 1, (2, 2))).astype(np.float32))
        clips.append(Clip(Path(f"{artist}.wav"), "ab"[label], f"artist {artist}"))
    shifts = [rng.normal(0, (0, 2), (6, 2)).astype(np.float32) for _ in clips]
    equal, deaf = (fit_head(features, clips, ("a", "b"), shifts=given) for given in ((), shifts))
    moved = [np.ptp(head.layer.weight.detach().numpy(), axis=0) for head in (equal, deaf)]
    assert moved[0][1] / moved[0][0] == pytest.approx(1, abs=0.3)
    assert moved[1][1] / moved[1][0] < 0.5
    assert deaf.macro_f1 is not None
    assert deaf.macro_f1 > 0.85


def test_rare_labels_weigh_as_much_as_others():
    features, clips = _songs(("a", "b"), 40, 0.8)
    kept = [i for i, clip in enumerate(clips) if clip.label == "a" or i < 12]
    few, of = [features[i] for i in kept], [clips[i] for i in kept]
    share = {}
    for balance in (True, False):
        head = fit_head(few, of, ("a", "b"), balance)
        share[balance] = np.mean([rows.mean(0).argmax() for rows in logits_from_head(head.layer, features)])
    assert share[True] > 0.2  # a half of all clips are b; of those to fit on 6 of 46
    assert share[False] < 0.05


@pytest.mark.parametrize("count", [1, 2])
def test_a_handful_of_clips_is_enough(count: int):
    features, clips = _songs(("a", "b", "c"), count, 6)
    head = fit_head(features, clips, ("a", "b", "c"))
    predicted = [rows.mean(0).argmax() for rows in logits_from_head(head.layer, features)]
    assert predicted == [0, 1, 2] * count
    if count == 1:
        assert (head.temperature, head.macro_f1) == (1.0, None)


def test_a_feature_that_never_changes_does_no_harm():
    features, clips = _songs(("a", "b"), 8)
    for rows in features:
        rows[:, 5] = 7.0
    assert all(
        np.isfinite(rows).all() for rows in logits_from_head(fit_head(features, clips, "ab").layer, features)
    )


def test_more_features_than_windows_change_no_answer():
    rng = np.random.default_rng(2)
    rows = rng.normal(0, 1, (9, 40)).astype(np.float32)
    clips = [Clip(Path(f"{i}.wav"), "abc"[i % 3], "the same artist") for i in range(9)]
    head = fit_head([row[None] for row in rows], clips, "abc")
    scaled = StandardScaler().fit_transform(rows.astype(float))
    theirs = LogisticRegression(C=head.strength, max_iter=1_000).fit(scaled, [clip.label for clip in clips])
    ours = torch.softmax(
        torch.from_numpy(np.concatenate(logits_from_head(head.layer, [rows]))), dim=1
    ).numpy()
    assert np.allclose(ours, theirs.predict_proba(scaled), atol=1e-3)
    assert not np.allclose(ours, 1 / 3, atol=0.02)
