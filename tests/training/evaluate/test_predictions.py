"""Predictions come back from their file, and a temperature is fitted to songs that it does not judge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from merkit.engine.errors import MerError
from merkit.training.evaluate.metrics_report import metrics_from_predictions
from merkit.training.evaluate.predictions import (
    Predictions,
    cross_fitted,
    fit_temperature,
    load_predictions,
    pooled,
    save_predictions,
)
from small_training import drawn_predictions


def test_temperature_undoes_overconfidence():
    # One window a song: the mean of several takes overconfidence away by itself.
    plain, sharp = drawn_predictions(600, windows=1), drawn_predictions(600, sharpness=4, windows=1)
    assert fit_temperature(sharp) == pytest.approx(4 * fit_temperature(plain), rel=0.01)
    metrics = metrics_from_predictions(sharp, fit_temperature(sharp))
    at_1 = metrics_from_predictions(sharp, 1.0)
    assert metrics["log_loss"] < at_1["log_loss"]
    assert metrics["calibration_error"] < at_1["calibration_error"]
    parts = [sharp.chosen(range(300)), sharp.chosen(range(300, 600))]
    probabilities, temperatures = cross_fitted(parts)
    assert temperatures == [fit_temperature(part) for part in reversed(parts)]
    assert np.allclose(probabilities[:300], parts[0].by_song(fit_temperature(parts[1])))


def test_predictions_come_back_without_pickles(tmp_path: Path):
    predictions = drawn_predictions()
    save_predictions(predictions, tmp_path / "logits.npz")
    read = load_predictions(tmp_path / "logits.npz")
    assert (read.ids, read.names) == (predictions.ids, predictions.names)
    assert np.array_equal(np.stack(read.logits), np.stack(predictions.logits))
    np.savez(tmp_path / "other.npz", names=np.array([Path()], dtype=object))
    with pytest.raises(MerError, match="holds no predictions"):
        load_predictions(tmp_path / "other.npz")


def test_damaged_predictions_are_one_line(tmp_path: Path):
    """A disk that was full, a copy that was stopped, a bit that changed."""
    save_predictions(drawn_predictions(), whole := tmp_path / "logits.npz")
    content = whole.read_bytes()
    method = content.index(b"PK\x01\x02") + 10  # of the first array, in the list of contents
    flipped = [
        content[:at] + bytes([content[at] ^ 0x08]) + content[at + 1 :] for at in (60, 200, 900, method)
    ]
    with np.load(whole) as arrays:
        good = dict(arrays)
    np.save(tmp_path / "one.npy", good["logits"])
    shorter = {name: {**good, name: good[name][:-1]} for name in good}
    for name, arrays in shorter.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
    made = [(tmp_path / f"{name}.npz").read_bytes() for name in shorter]
    for damaged in (b"", content[:1000], (tmp_path / "one.npy").read_bytes(), *flipped, *made):
        whole.write_bytes(damaged)
        with pytest.raises(MerError, match="holds no predictions of mer-train: ") as refused:
            load_predictions(whole)
        assert len(str(refused.value).splitlines()) == 1


def test_parts_are_put_together_again():
    predictions = drawn_predictions()
    together = pooled([predictions.chosen(range(20)), predictions.chosen(range(20, 60))])
    assert (together.ids, together.groups) == (predictions.ids, predictions.groups)
    assert np.array_equal(together.by_song(1.3), predictions.by_song(1.3))
    truth, by_window = together.by_window()
    assert truth.tolist() == np.repeat(predictions.truth, 2).tolist()
    assert by_window.shape == (120, 3)


def test_a_song_whose_pieces_stand_in_several_folds_counts_once():
    """Each piece under its own fold's temperature; all pieces of the song weigh the same."""
    first, second = drawn_predictions(60), drawn_predictions(60, sharpness=3, windows=3)
    parts = [first.chosen(range(40)), second.chosen(range(59, 20, -1))]
    together = pooled(parts)
    assert together.ids == (*first.ids[:40], *first.ids[:39:-1])
    assert together.truth.tolist() == [*first.truth[:40], *first.truth[:39:-1]]
    assert [len(logits) for logits in together.logits] == [2] * 21 + [5] * 19 + [3] * 20
    np.testing.assert_array_equal(together.logits[30], [*first.logits[30], *second.logits[30]])
    probabilities, (one, two) = cross_fitted(parts)
    pieces = [2 * first.by_song(one)[30], 3 * second.by_song(two)[30]]
    np.testing.assert_allclose(probabilities[30], np.sum(pieces, axis=0) / 5)
    assert metrics_from_predictions(together, 1.0, probabilities)["songs"] == 60


def test_songs_of_different_lengths_are_means_of_their_own_windows():
    logits = tuple(np.log(np.asarray(rows, np.float32)) for rows in ([[0.2, 0.8]], [[0.9, 0.1], [0.5, 0.5]]))
    names = ("short", "long")
    predictions = Predictions(names, names, np.array([1, 0]), logits, names, ("a", "b"))
    assert predictions.by_song() == pytest.approx(np.array([[0.2, 0.8], [0.7, 0.3]]))
