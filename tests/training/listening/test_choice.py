"""The choice of songs: every part of the sound once, the unsure ones, and none that has a label."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from merkit.training.listening.choice import (
    points_from_probabilities,
    songs_to_label,
    standardised,
    uncertainty_from_probabilities,
)

_PLACES = np.array([[0, 0], [10, 0], [0, 10], [10, 10]], np.float32)


def _islands(*sizes: int) -> tuple[np.ndarray, np.ndarray]:
    """Points close to so many places, and the place of each."""
    home = np.repeat(np.arange(len(sizes)), sizes)
    jitter = np.random.default_rng(0).uniform(-0.5, 0.5, (len(home), 2))
    return (_PLACES[home] + jitter).astype(np.float32), home


def test_standardised_by_what_is_known():
    points = np.array([[0.0, 5], [2, 5], [50, 5]], np.float32)
    assert standardised(points, np.array([0, 1])).tolist() == [[-1, 0], [1, 0], [49, 0]]
    assert np.allclose(standardised(points).std(axis=0), [1, 0])


def test_one_of_each_island():
    points, home = _islands(40, 5, 20, 10)
    chosen = songs_to_label(points, np.ones(75, np.float32), np.zeros(75, bool), 4)
    assert [int(home[i]) for i in chosen] == [0, 2, 3, 1]  # the largest first


def test_islands_that_have_a_label_come_last():
    points, home = _islands(40, 5, 20, 10)
    labelled = (home == 0) & (np.arange(75) < 1)
    chosen = songs_to_label(points, np.ones(75, np.float32), labelled, 3)
    assert {int(home[i]) for i in chosen} == {1, 2, 3}


def test_unsure_songs_weigh_more():
    points, home = _islands(20, 20)
    unsure = np.where(home == 1, 1.0, 0.0).astype(np.float32)
    chosen = songs_to_label(points, unsure, np.zeros(40, bool), 8)
    assert sum(home[i] == 1 for i in chosen) > 4


def test_the_song_in_the_middle():
    points = np.array([[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1]], np.float32)
    assert songs_to_label(points, np.ones(5, np.float32), np.zeros(5, bool), 1) == [0]


@given(st.integers(1, 30), st.integers(0, 29), st.integers(1, 35), st.integers(0, 3), st.booleans())
def test_never_one_twice_nor_one_with_a_label(songs: int, known: int, count: int, seed: int, alike: bool):
    rng = np.random.default_rng(seed)
    points = np.zeros((songs, 3), np.float32) if alike else rng.random((songs, 3), np.float32)
    labelled = np.arange(songs) < known
    chosen = songs_to_label(points, rng.random(songs, np.float32), labelled, count, seed)
    assert len(chosen) == len(set(chosen)) == min(count, int((~labelled).sum()))
    assert not labelled[chosen].any()


def test_the_seed_decides_and_nothing_else():
    points, _ = _islands(30, 30, 30, 30)
    unsure, labelled = np.ones(120, np.float32), np.zeros(120, bool)
    first = songs_to_label(points, unsure, labelled, 10, 1)
    assert first == songs_to_label(points, unsure, labelled, 10, 1)
    assert first != songs_to_label(points, unsure, labelled, 10, 2)


def test_embeddings_have_many_dimensions():
    rng = np.random.default_rng(0)
    points = rng.standard_normal((60, 200)).astype(np.float32)
    points[30:, :40] += 5
    chosen = songs_to_label(points, np.ones(60, np.float32), np.zeros(60, bool), 2)
    assert {i >= 30 for i in chosen} == {True, False}


def test_uncertainty_is_how_near_the_second_label_is():
    shares = np.array([[1, 0, 0], [0.5, 0.5, 0], [0.6, 0.3, 0.1]], np.float32)
    assert uncertainty_from_probabilities(shares) == pytest.approx([0, 1, 0.7], abs=1e-6)


def test_points_are_of_ratios():
    one, other = points_from_probabilities(np.array([[0.8, 0.1, 0.1], [0.4, 0.3, 0.3]], np.float32))
    assert one[0] - one[1] == pytest.approx(np.log(8), abs=1e-5)
    assert other.sum() == pytest.approx(0, abs=1e-5)
    assert np.isfinite(points_from_probabilities(np.array([[1, 0]], np.float32))).all()
