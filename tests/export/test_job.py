"""What a job computes once, and the checks that refuse a graph."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from merkit.engine.arrays import Float32
from merkit.engine.artifact import Artifact
from merkit.engine.errors import MerError, UsageError
from merkit.engine.runtimes import open_runtime
from merkit.export.calibration_set import CalibrationSet
from merkit.export.checks import Accuracy, GateError, logits_by_batch
from merkit.export.eval_set import EvalSet
from merkit.export.fp16_range import Fp16Range
from merkit.export.job import Job, Plan
from merkit.export.precision import fp16_from_onnx
from merkit.export.song_log_mels import generated_log_mels
from merkit.export.source import Source, open_source
from small_networks import AUDIO


@pytest.fixture
def job(model: Path) -> Job:
    songs = generated_log_mels(AUDIO, 8)
    truth = np.arange(8) % 4
    eval_set = EvalSet(songs, truth, "clips", "generated", "8 clips")
    return Job(open_source(str(model)), eval_set, None, Plan(), lambda line: None)


def test_the_checkpoints_own_logits_are_compared(job: Job) -> None:
    assert job.torch is None  # an .onnx is its own reference
    with open_runtime(job.source.artifact) as runtime:
        same = dataclasses.replace(job, source=Source(job.source.artifact, runtime.infer))
        assert same.torch is not None
        assert same.torch.songs == same.torch.windows == 8
        assert set(same.torch.by_batch) == {"1", "2", "64"}


@pytest.mark.parametrize(
    ("largest", "error", "refusal"),
    [
        (0.5, 1e-3, r"off PyTorch by 0\.001, over 0\.0001$"),
        (400, 0.02, None),  # another order of the sums
        (400, 0.08, r"off PyTorch by 0\.08, over 0\.04$"),
    ],
)
def test_rounding_is_of_the_size_of_the_logits(
    job: Job, monkeypatch: pytest.MonkeyPatch, largest: float, error: float, refusal: str | None
) -> None:
    with open_runtime(job.source.artifact) as runtime:
        scale = np.float32(largest / np.abs(runtime.infer(job.eval_set.songs.log_mels)).max())

        def off(log_mels: Float32) -> Float32:
            return runtime.infer(log_mels) * scale + np.float32(error)

        def logits(self: Job, artifact: Artifact, log_mels: Float32) -> dict[int, Float32]:
            return logits_by_batch(lambda images: runtime.infer(images) * scale, log_mels, 64)

        monkeypatch.setattr(Job, "_logits", logits)
        compared = dataclasses.replace(job, source=Source(job.source.artifact, off))
        if refusal is None:
            assert compared.torch is not None
            return
        with pytest.raises(GateError, match=refusal):
            _ = compared.torch


def test_a_checked_graph_says_what_was_measured(job: Job) -> None:
    lines: list[str] = []
    job = dataclasses.replace(job, plan=Plan(max_drop=1.0), say=lines.append)
    checks = job.check(fp16_from_onnx(job.source.model()), "fp16")
    assert checks.parity is not None
    assert checks.accuracy is not None
    assert checks.range is not None
    assert 0 <= checks.accuracy.macro_f1 <= 1
    assert [line.split()[0] for line in lines] == ["FP16", "against", "macro-F1"]


def test_a_drop_is_a_share_and_its_refusal_names_layers(job: Job, tmp_path: Path) -> None:
    half = fp16_from_onnx(job.source.model())
    strict = dataclasses.replace(job, plan=Plan(max_drop=-1.01))
    with pytest.raises(
        GateError, match=r"fp16 loses .* at most -101 are allowed: leave .* in FP32"
    ) as refused:
        strict.check(half, "fp16")
    assert len(refused.value.layers) == 3
    assert refused.value.precision == "fp32"
    archive = tmp_path / "windows.npz"
    np.savez(archive, images=job.eval_set.songs.log_mels, audio_spec=AUDIO.to_json())
    calibration_set = CalibrationSet(AUDIO, (), str(archive), "", 8, "minmax")
    strict = dataclasses.replace(strict, calibration_set=calibration_set)
    with pytest.raises(GateError, match=r"int8 loses .* in FP16, or calibrate on more") as refused:
        strict.check(half, "int8")
    assert refused.value.layers == tuple(result.layer for result in strict.rank()[:3])
    assert refused.value.precision == "fp16"
    with pytest.raises(GateError, match="fp32 loses") as refused:
        strict.check(job.source.model(), "fp32")
    assert refused.value.layers == ()


def test_only_layers_that_can_be_kept_are_suggested(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    half = fp16_from_onnx(job.source.model())
    casts = [node.name for node in half.graph.node if node.op_type == "Cast"]
    strict = dataclasses.replace(job, plan=Plan(max_drop=-1.01))
    for peak in (1.0, float("inf")):  # the gates of accuracy and of range
        measured = Fp16Range(tuple((name, peak) for name in (*casts, "stem")), 8)
        monkeypatch.setattr("merkit.export.job.fp16_range", lambda *_, measured=measured: measured)
        with pytest.raises(GateError) as refused:
            strict.check(half, "fp16")
        assert refused.value.layers
        fp16_from_onnx(job.source.model(), refused.value.layers)  # which refuses layers that are not there


def test_two_flips_of_fourteen_clips_fail_nothing(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    half = fp16_from_onnx(job.source.model())
    strict = dataclasses.replace(job, plan=Plan(max_drop=0.01), say=lines.append)
    few = Accuracy(0.8, 0.8 - 2 / 14, 0.8, 0.8 - 2 / 14, 14, 2, 2, 0)
    monkeypatch.setattr("merkit.export.job.accuracy", lambda *_: few)
    strict.check(half, "fp16")
    assert lines[-1] == (
        "  warning: too few clips to tell (14; about 48 needed): a drop of 14.3 points, where 1 are allowed, "
        "may be chance"
    )
    many = dataclasses.replace(few, songs=180, drop_interval=(0.05, 0.2))
    monkeypatch.setattr("merkit.export.job.accuracy", lambda *_: many)
    with pytest.raises(GateError, match=r"fp16 loses 14\.3 points of macro-F1, at most 1 are allowed"):
        strict.check(half, "fp16")


def test_where_fp32_is_right_on_nothing_no_drop_is_seen(job: Job, tmp_path: Path) -> None:
    """The gate cannot fail there: it says nothing of INT8 on too little music."""
    lines: list[str] = []
    all_wrong = (job.reference[64].argmax(axis=1) + 1) % 4
    wrong = dataclasses.replace(job, eval_set=dataclasses.replace(job.eval_set, truth=all_wrong))
    few = dataclasses.replace(wrong, plan=Plan(max_drop=0.01), say=lines.append)
    half = fp16_from_onnx(job.source.model())
    few.check(half, "fp16")
    reason = "FP32 is right on 0 of 8 songs: too few right answers to tell"
    assert lines[-1] == f"  warning: {reason} what fp16 loses"
    archive = tmp_path / "windows.npz"
    np.savez(archive, images=job.eval_set.songs.log_mels, audio_spec=AUDIO.to_json())
    calibration_set = CalibrationSet(AUDIO, (), str(archive), "", 8, "minmax")
    few = dataclasses.replace(few, calibration_set=calibration_set)
    with pytest.raises(MerError, match=rf"too little to calibrate INT8 on: 8 .*; give .*: {reason}"):
        few.check(half, "int8")
    right = job.reference[64].argmax(axis=1)
    seen = dataclasses.replace(few, eval_set=dataclasses.replace(few.eval_set, truth=right))
    seen.check(half, "int8")
    assert "warning" not in lines[-1]


def test_int8_without_music_is_refused(job: Job) -> None:
    with pytest.raises(UsageError, match="needs music to calibrate on"):
        _ = job.calibration


def test_on_clips_it_was_trained_on_the_gate_stays_and_no_accuracy_is_claimed(job: Job) -> None:
    lines: list[str] = []
    heard = dataclasses.replace(job.eval_set, heard=True)
    job = dataclasses.replace(job, eval_set=heard, plan=Plan(max_drop=1.0), say=lines.append)
    checks = job.check(fp16_from_onnx(job.source.model()), "fp16")
    assert checks.accuracy is not None
    assert not checks.accuracy.claimed
    assert "on clips it was trained on: no accuracy is claimed; " in lines[-1]
    assert "labels flip" in lines[-1]
    strict = dataclasses.replace(job, plan=Plan(max_drop=-1.01))
    with pytest.raises(GateError, match="fp16 loses"):
        strict.check(fp16_from_onnx(job.source.model()), "fp16")


def test_a_gain_is_no_drop(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large it is."""
    lines: list[str] = []
    given: list[tuple[Any, ...]] = []
    better = Accuracy(0.5, 0.9, 0.5, 0.9, 180, 72, 0, 72, (-0.5, -0.3))
    monkeypatch.setattr("merkit.export.job.accuracy", lambda *values: given.append(values) or better)
    groups = tuple(f"artist {number}" for number in range(8))
    grouped = dataclasses.replace(job.eval_set, groups=groups)
    strict = dataclasses.replace(job, eval_set=grouped, plan=Plan(max_drop=0.01), say=lines.append)
    strict.check(fp16_from_onnx(job.source.model()), "fp16")
    assert not [line for line in lines if "warning" in line]
    assert given[0][-1] == groups  # songs of one artist are drawn together


def test_a_graph_that_is_far_off_is_refused(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its score is: labels may be right by chance."""
    half = fp16_from_onnx(job.source.model())
    off = dataclasses.replace(job, plan=Plan(max_drop=1.0))
    reference = off.reference
    monkeypatch.setattr(Job, "_logits", lambda *_: {size: 1.2 * each for size, each in reference.items()})
    with pytest.raises(GateError, match=r"fp16 is off by 0\.2 of the largest logit"):
        off.check(half, "fp16")


def test_layers_that_are_kept_anyway_are_not_ranked(job: Job, tmp_path: Path) -> None:
    archive = tmp_path / "windows.npz"
    np.savez(archive, images=job.eval_set.songs.log_mels, audio_spec=AUDIO.to_json())
    music = CalibrationSet(AUDIO, (), str(archive), "", 8, "minmax")
    plan = Plan(keep=("stem", "expand"), keep_fp32=("head", "res_1"))
    ranked = dataclasses.replace(job, calibration_set=music, plan=plan).rank()
    assert {result.layer for result in ranked} == {"project", "res_2", "res_down"}
