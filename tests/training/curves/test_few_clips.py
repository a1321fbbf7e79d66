"""Curves: what is held apart, what is given, and that they rise where there is something to learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from merkit.engine.errors import MerError
from merkit.training.curves import few_clips
from merkit.training.curves.few_clips import Table, curve_by_label, curves_by_choice
from sklearn.linear_model import LogisticRegression


def _table(songs: int = 120, features: int = 6, noise: float = 1.0, own: int = 2) -> Table:
    """Two labels apart by noise; ``own`` songs of an artist in turn."""
    rng = np.random.default_rng(0)
    labels = np.arange(songs) % 2
    values = rng.standard_normal((songs, features)) * noise
    values[:, 0] += 2 * labels
    groups = [f"artist {number // (2 * own)}" for number in range(songs)]
    return Table(values.astype(np.float32), tuple("ab"[i] for i in labels), tuple(groups))


def test_more_clips_are_better():
    few, many = curve_by_label(_table(), [1, 30])
    assert (few.clips, many.clips, len(few.macro_f1)) == (1, 30, 10)
    assert many.mean > few.mean + 0.03
    assert 0 < few.deviation < 0.5


def test_what_is_tested_shares_no_group_with_what_is_given(monkeypatch: pytest.MonkeyPatch):
    table = _table()
    seen = []

    def score(features: np.ndarray, labels: np.ndarray, given: np.ndarray, test: np.ndarray) -> float:
        seen.append((sorted(given), {table.groups[i] for i in given} & {table.groups[i] for i in test}))
        assert [list(labels[given]).count(name) for name in "ab"] == [5, 5]
        return 0.5

    monkeypatch.setattr(few_clips, "_macro_f1", score)
    curve_by_label(table, [5])
    assert all(not both for _, both in seen)
    assert len({str(given) for given, _ in seen}) == 10  # another draw, other clips


def test_a_label_with_fewer_clips_gives_all_and_too_large_a_size_is_left_out():
    table = _table(60)
    rare = tuple("a" if i % 6 else "b" for i in range(60))
    points = curve_by_label(Table(table.features, rare, table.groups), [5, 20, 1_000])
    assert [point.clips for point in points] == [5, 20]
    with pytest.raises(
        MerError, match=r"^no label has 500 clips to give in every draw: give at most (\d+)$"
    ) as error:
        curve_by_label(table, [1_000, 500])
    most = int(str(error.value).split()[-1])
    assert [point.clips for point in curve_by_label(table, [most, most + 1])] == [most]


def test_the_span_of_the_given_clips_changes_no_answer():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((30, 80)).astype(np.float32)
    labels = np.array(list("abc") * 10)
    _, shares = few_clips._answers(x, labels, np.arange(12), np.arange(12, 30))
    plain = LogisticRegression(C=few_clips._C, class_weight="balanced", max_iter=500)
    expected = plain.fit(x[:12], labels[:12]).predict_proba(x[12:])
    assert shares == pytest.approx(expected, abs=1e-4)


def test_what_other_words_say_of_a_clip_helps():
    table = _table(120, features=40, noise=3.0)
    other = _table(600, features=40, noise=3.0)
    words = Table(
        other.features, tuple({"a": "still", "b": "loud"}[name] for name in other.labels), other.groups
    )
    elsewhere = Table(words.features, words.labels, tuple(f"x {group}" for group in words.groups))
    (alone,), (helped,) = curve_by_label(table, [5]), curve_by_label(table, [5], beside=[elsewhere])
    assert helped.mean > alone.mean + 0.03


def test_other_data_is_heard_without_the_groups_that_are_tested():
    table = _table(12, own=1)
    other = Table(
        np.array([[0.0], [1], [9], [9]], np.float32), tuple("abcc"), ("u", "v", "Artist 0", "artist 0")
    )
    own = Table(np.zeros((12, 1), np.float32), table.labels, table.groups)
    # Without the artist that is tested two labels are left: one column says which.
    assert few_clips._words_of(other, own, np.array([0])).shape == (12, 1)
    assert few_clips._words_of(other, own, np.array([2])).shape == (12, 3)


def test_other_data_is_heard_without_what_touches_a_tested_group():
    table = _table(12, own=1)
    features = np.array([[0.0], [1], [9], [9]], np.float32)
    touched = tuple(map(frozenset, (["u"], ["v"], ["w", "artist 0"], ["w", "artist 0"])))
    other = Table(features, tuple("abcc"), tuple("uvww"), touched)
    own = Table(np.zeros((12, 1), np.float32), table.labels, table.groups)
    assert few_clips._words_of(other, own, np.array([0])).shape == (12, 1)
    assert few_clips._words_of(other, own, np.array([2])).shape == (12, 3)
    with pytest.raises(MerError, match="fewer than two labels without the recordings"):
        few_clips._words_of(
            Table(features, tuple("acca"), tuple("uvww"), touched[2:] * 2), own, np.array([0])
        )


def test_chosen_clips_are_given_beside_as_many_at_random(monkeypatch: pytest.MonkeyPatch):
    sizes = []
    real = few_clips._macro_f1

    def score(features: np.ndarray, labels: np.ndarray, given: np.ndarray, test: np.ndarray) -> float:
        sizes.append(len(set(given)))
        return real(features, labels, given, test)

    monkeypatch.setattr(few_clips, "_macro_f1", score)
    curves = curves_by_choice(_table(), [4, 12], draws=3)
    assert sizes == [4, 4, 12, 12] * 3
    assert {name: [point.clips for point in points] for name, points in curves.items()} == {
        "chosen": [4, 12], "at random": [4, 12],
    }  # fmt: skip


def test_data_that_gives_no_curve():
    table = _table(8, own=4)
    with pytest.raises(MerError, match="3 groups"):
        curve_by_label(Table(table.features, table.labels, ("x",) * 8), [1])
    other = _table(36, own=3)
    one_group = Table(other.features, tuple("ab"[g != "artist 0"] for g in other.groups), other.groups)
    with pytest.raises(MerError, match="too few groups with the label"):
        curve_by_label(one_group, [1])
    with pytest.raises(MerError, match="cannot be chosen"):
        curves_by_choice(_table(30), [1_000])


@pytest.mark.parametrize("curve", [curve_by_label, curves_by_choice])
def test_labels_of_two_clips_are_too_few(curve: Any):
    table = Table(np.eye(4, dtype=np.float32), tuple("abab"), tuple("wxyz"))
    with pytest.raises(MerError, match="3 clips of each label or more; here no label has so many"):
        curve(table, [1], 2)
