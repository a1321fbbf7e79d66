"""Overflow is caught although a CPU hides it; parity and accuracy are counted right."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from merkit.engine.spec import QUADRANTS, ModelSpec
from merkit.export.calibration_set import SongLogMels, generated_log_mels
from merkit.export.checks import (
    Fp16Range,
    GateError,
    accuracy,
    check_parity,
    check_range,
    fp16_range,
    logits_by_batch,
    parity,
)
from merkit.export.precision import fp16_from_onnx
from merkit.export.sensitivity import open_session
from small_networks import AUDIO, small_network


def songs_of(rows: list[list[int]]) -> SongLogMels:
    total = sum(map(len, rows))
    images = np.zeros((total, 1, 2, 2), np.float32)
    return SongLogMels(images, tuple(np.asarray(row) for row in rows), ())


def test_an_overflow_that_the_cpu_hides_is_caught() -> None:
    images = generated_log_mels(AUDIO, 4).images
    made = fp16_from_onnx(small_network(gain=3e3))
    (logits,) = open_session(made.SerializeToString()).run(["logits"], {"images": images})
    assert np.isfinite(np.asarray(logits)).all()  # this is why the range must be read
    found = fp16_range(made, images)
    assert "stem" in found.over
    with pytest.raises(GateError, match="--keep stem=fp32") as refused:
        check_range(found)
    assert refused.value.exit_code == 3


def test_a_range_within_fp16_passes_and_half_of_it_warns() -> None:
    images = generated_log_mels(AUDIO, 4).images
    found = fp16_range(fp16_from_onnx(small_network()), images)
    check_range(found)
    assert not found.near
    assert {"stem", "res_1", "pool"} <= {
        name.split("_input")[0].split("_output")[0] for name, _ in found.peaks
    }
    # Every FP16 node's peak is what the FP32 graph gives, but for rounding.
    model = small_network()
    model.graph.output.extend([value for value in model.graph.value_info if value.name == "res_1_out"])
    (expected,) = open_session(model.SerializeToString()).run(["res_1_out"], {"images": images})
    assert dict(found.peaks)["res_1"] == pytest.approx(float(np.abs(np.asarray(expected)).max()), rel=0.01)
    near = Fp16Range((("a", 40_000.0), ("b", 1.0)), 1)
    check_range(near)
    assert near.near == ["a"]
    assert Fp16Range((("a", float("inf")), ("b", 65_505.0), ("c", 65_504.0)), 1).over == ["a", "b"]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinite_logits_are_refused(bad: float) -> None:
    images = np.zeros((3, 1, 2, 2), np.float32)
    with pytest.raises(GateError, match="batch 2"):
        logits_by_batch(lambda part: np.full((len(part), 4), bad if len(part) == 2 else 0.0), images, 8)


def test_batches_are_cut_as_asked() -> None:
    seen: list[int] = []

    def infer(part: Any) -> Any:
        seen.append(len(part))
        return part.reshape(len(part), -1)[:, :2]

    found = logits_by_batch(infer, np.zeros((11, 1, 2, 2), np.float32), 4)
    assert {batch: len(logits) for batch, logits in found.items()} == {1: 8, 2: 8, 4: 11}
    assert seen == [1] * 8 + [2] * 4 + [4, 4, 3]


def test_parity_counts_windows_and_songs() -> None:
    songs = songs_of([[0, 1], [2], [3]])
    reference = np.asarray([[2, 0], [0, 1], [4, 0], [0, 1]], np.float32)
    candidate = reference.copy()
    candidate[1] = [1, 0]  # flips a window, not its song
    candidate[3] = [1, 0]  # flips a song
    found = parity({1: reference[:1], 8: reference}, {1: candidate[:1], 8: candidate}, songs, 1.0)
    assert (found.agreement, found.flips, found.songs, found.windows) == (0.5, 1, 3, 4)
    assert (found.max_error, found.relative_error) == (1.0, 0.25)
    assert found.by_batch == {"1": 0.0, "8": 1.0}
    with pytest.raises(GateError, match="25"):
        check_parity(found, "fp16")
    check_parity(found, "int8")
    check_parity(dataclasses.replace(found, relative_error=0.01), "fp16")
    with pytest.raises(GateError):
        check_parity(dataclasses.replace(found, relative_error=float("nan")), "int8")


def test_accuracy_is_of_songs() -> None:
    songs = songs_of([[0, 1], [2], [3]])
    right = np.asarray([[3, 0], [0, 1], [4, 0], [0, 1]], np.float32)
    wrong = right[:, ::-1].copy()
    found = accuracy(right, wrong, songs, np.asarray([0, 0, 1]), 1.0)
    assert (found.macro_f1_fp32, found.macro_f1, found.drop) == (100, 0, 100)
    assert (found.accuracy_fp32, found.accuracy, found.songs) == (100, 0, 3)


def test_temperature_changes_a_songs_mean() -> None:
    songs = songs_of([[0, 1, 2]])
    logits = np.asarray([[9, 0], [0, 2], [0, 2]], np.float32)
    spec = ModelSpec("x", QUADRANTS, AUDIO)
    assert spec.temperature == 1
    assert accuracy(logits, logits, songs, np.asarray([0]), 1.0).accuracy == 0
    assert accuracy(logits, logits, songs, np.asarray([0]), 20.0).accuracy == 100
