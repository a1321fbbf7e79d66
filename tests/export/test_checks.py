"""Parity and accuracy are counted right, and refused where they should be."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from merkit.engine.spec import QUADRANTS, ModelSpec
from merkit.export.checks import Accuracy, GateError, Parity, accuracy, check_parity, logits_by_batch, parity
from merkit.export.song_log_mels import SongLogMels
from small_networks import AUDIO


def songs_of(rows: list[list[int]]) -> SongLogMels:
    total = sum(map(len, rows))
    log_mels = np.zeros((total, 1, 2, 2), np.float32)
    return SongLogMels(log_mels, tuple(np.asarray(row) for row in rows))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinite_logits_are_refused(bad: float) -> None:
    log_mels = np.zeros((3, 1, 2, 2), np.float32)
    with pytest.raises(GateError, match="batch 2"):
        logits_by_batch(lambda part: np.full((len(part), 4), bad if len(part) == 2 else 0.0), log_mels, 8)


def test_batches_are_cut_as_asked() -> None:
    seen: list[int] = []

    def infer(part: Any) -> Any:
        seen.append(len(part))
        return part.reshape(len(part), -1)[:, :2]

    by_batch = logits_by_batch(infer, np.zeros((11, 1, 2, 2), np.float32), 4)
    assert {batch: len(logits) for batch, logits in by_batch.items()} == {1: 8, 2: 8, 4: 11}
    assert seen == [1] * 8 + [2] * 4 + [4, 4, 3]


def test_parity_counts_windows_and_songs() -> None:
    songs = songs_of([[0, 1], [2], [3]])
    reference = np.asarray([[2, 0], [0, 1], [4, 0], [0, 1]], np.float32)
    candidate = reference.copy()
    candidate[1] = [1, 0]  # flips a window, not its song
    candidate[3] = [1, 0]  # flips a song
    measured = parity({1: reference[:1], 8: reference}, {1: candidate[:1], 8: candidate}, songs, 1.0)
    assert (measured.agreement, measured.flips, measured.songs, measured.windows) == (0.5, 1, 3, 4)
    assert (measured.max_error, measured.relative_error) == (1.0, 0.25)
    assert measured.by_batch == {"1": 0.0, "8": 1.0}
    with pytest.raises(GateError, match="25"):
        check_parity(measured, "fp16")
    check_parity(measured, "int8")
    check_parity(dataclasses.replace(measured, relative_error=0.01), "fp16")
    with pytest.raises(GateError):
        check_parity(dataclasses.replace(measured, relative_error=float("nan")), "int8")


def test_the_largest_difference_counts_whichever_way_and_wherever_it_is() -> None:
    songs = songs_of([[0], [1]])
    reference = np.asarray([[-8, 0], [0, 2]], np.float32)
    few, many = reference[:1] - np.float32(2), reference - np.float32(1)
    measured = parity({1: reference[:1], 8: reference}, {1: few, 8: many}, songs, 1.0)
    assert measured.by_batch == {"1": 2.0, "8": 1.0}
    assert (measured.max_error, measured.relative_error) == (2.0, 0.25)


@pytest.mark.parametrize(
    ("precision", "passes", "fails"), [("fp32", 1e-3, 0.01), ("fp16", 0.01, 0.1), ("int8", 0.1, 0.6)]
)
def test_each_precision_has_its_own_bound(precision: str, passes: float, fails: float) -> None:
    check_parity(Parity(1.0, passes, 1.0, 0, 1, 1, {}), precision)
    with pytest.raises(GateError, match=f"{precision} is off by {fails:g} of the largest logit"):
        check_parity(Parity(1.0, fails, 1.0, 0, 1, 1, {}), precision)


def test_accuracy_is_of_songs() -> None:
    songs = songs_of([[0, 1], [2], [3]])
    right = np.asarray([[3, 0], [0, 1], [4, 0], [0, 1]], np.float32)
    wrong = right[:, ::-1].copy()
    scored = accuracy(right, wrong, songs, np.asarray([0, 0, 1]), 1.0)
    assert (scored.macro_f1_fp32, scored.macro_f1, scored.drop) == (1, 0, 1)
    assert (scored.accuracy_fp32, scored.accuracy, scored.songs) == (1, 0, 3)


def test_temperature_changes_a_songs_mean() -> None:
    songs = songs_of([[0, 1, 2]])
    logits = np.asarray([[9, 0], [0, 2], [0, 2]], np.float32)
    spec = ModelSpec("x", QUADRANTS, AUDIO)
    assert spec.temperature == 1
    assert accuracy(logits, logits, songs, np.asarray([0]), 1.0).accuracy == 0
    assert accuracy(logits, logits, songs, np.asarray([0]), 20.0).accuracy == 1


@pytest.mark.parametrize(
    ("reference", "candidate", "drop"),
    [
        # 10 songs of label 0 and 10 of label 1 of a model with four labels; F1 by hand
        ([0] * 10 + [1] * 10, [3] + [0] * 9 + [1] * 10, 1 - (18 / 19 + 1) / 2),
        ([0] * 10 + [1] * 10, [1] + [0] * 9 + [1] * 10, 1 - (18 / 19 + 20 / 21) / 2),
        (
            [3] + [0] * 9 + [1] * 10,
            [0] + [1] * 5 + [0] * 4 + [1] * 10,
            (18 / 19 + 1) / 2 - (10 / 15 + 20 / 25) / 2,
        ),
    ],
)
def test_both_sides_of_the_gate_are_over_the_labels_of_the_data(
    reference: list[int], candidate: list[int], drop: float
) -> None:
    """An answer outside them is a wrong answer, and no label more."""
    songs = songs_of([[i] for i in range(20)])
    truth = np.asarray([0] * 10 + [1] * 10)
    one_hot = np.eye(4, dtype=np.float32)
    assert accuracy(one_hot[reference], one_hot[candidate], songs, truth, 1.0).drop == pytest.approx(drop)


def test_the_drop_is_paired_song_by_song() -> None:
    truth = np.repeat([0, 1], 20)
    songs = songs_of([[i] for i in range(40)])
    one_hot = np.eye(2, dtype=np.float32)
    reference = one_hot[truth]
    candidate = reference.copy()
    candidate[:4] = candidate[:4, ::-1]
    groups = [f"artist {i // 2}" for i in range(40)]
    scored = accuracy(reference, candidate, songs, truth, 1.0, groups)
    assert scored.flips == 4
    assert scored.drop_interval is not None
    low, high = scored.drop_interval
    assert 0 <= low < scored.drop < high
    same = accuracy(reference, reference, songs, truth, 1.0, groups)
    assert (same.flips, same.drop, same.drop_interval) == (0, 0, (0, 0))
    assert "-" not in repr(same.drop_interval)  # no -0.0
    few = accuracy(reference, candidate, songs, truth, 1.0, ["one artist"] * 40)
    assert (few.flips, few.drop_interval) == (4, None)
    assert (scored.lost, scored.won) == (4, 0)
    back = accuracy(candidate, reference, songs, truth, 1.0, groups)
    assert (back.lost, back.won) == (0, 4)


def _dropped(lost: int, won: int, songs: int, interval: tuple[float, float] | None = None) -> Accuracy:
    drop = (lost - won) / songs
    return Accuracy(0.8, 0.8 - drop, 0.8, 0.8 - drop, songs, lost + won, lost, won, interval)


@pytest.mark.parametrize(
    ("right", "songs", "interval", "shows"),
    [
        (0, 14, None, False),
        (5, 14, None, False),  # were all five lost: 2 / 2^5 = 0.0625
        (6, 14, None, True),
        (0, 180, (0.0, 0.0), False),
        (4, 180, (0.0, 0.0), True),
    ],
)
def test_a_drop_is_seen_where_there_are_right_answers_to_lose(
    right: int, songs: int, interval: tuple[float, float] | None, shows: bool
) -> None:
    share = right / songs
    assert Accuracy(0.1, 0.1, share, share, songs, drop_interval=interval).shows_drops is shows


@pytest.mark.parametrize(
    ("scored", "chance"),
    [
        (_dropped(2, 0, 14), True),
        (_dropped(5, 0, 14), True),  # 2 / 2^5 = 0.0625
        (_dropped(6, 0, 14), False),  # 2 / 2^6 = 0.031
        (_dropped(14, 0, 14), False),
        (_dropped(9, 1, 30), False),  # 2 (10 + 1) / 2^10 = 0.021
        (_dropped(8, 2, 30), True),  # 2 (45 + 10 + 1) / 2^10 = 0.109
        (_dropped(0, 0, 14), True),
        (_dropped(12, 3, 180, (0.008, 0.092)), False),
        (_dropped(9, 6, 180, (-0.025, 0.06)), True),
    ],
)
def test_a_drop_of_few_songs_may_be_chance(scored: Accuracy, chance: bool) -> None:
    assert scored.may_be_chance == chance


def test_so_many_songs_show_a_drop_in_four_of_five_trials() -> None:
    assert _dropped(2, 0, 14).songs_needed == 48  # 14 (2.8 sqrt((1/7 - 1/49) / 14) / (1/7))^2 = 47.04
    assert _dropped(1, 0, 2).songs_needed == 20
    rng = np.random.default_rng(0)
    scored = _dropped(9, 5, 100)
    assert scored.songs_needed > 100
    seen, trials = 0, 400
    for _ in range(trials):
        lost, won, _ = rng.multinomial(scored.songs_needed, [0.09, 0.05, 0.86])
        seen += not _dropped(int(lost), int(won), scored.songs_needed).may_be_chance
    assert 0.72 < seen / trials < 0.86
