"""Ranges, computed in chunks and cached by hash."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from merkit.engine.arrays import Float32
from merkit.engine.errors import MerError
from merkit.export import calibration
from merkit.export.calibration import cached, calibration_key, ranges_from_log_mels
from merkit.export.onnx_session import open_session
from merkit.export.precision import layers_to_quantize, tensors_to_quantize
from merkit.export.song_log_mels import generated_log_mels
from small_networks import AUDIO, small_network


def test_ranges_are_what_the_network_gives_and_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_network()
    tensors = tensors_to_quantize(model, layers_to_quantize(model))
    log_mels = generated_log_mels(AUDIO, 6).log_mels
    chunks: list[int] = []

    class Once(calibration._Once):
        def __init__(self, log_mels: Float32) -> None:
            chunks.append(len(log_mels))
            super().__init__(log_mels)

    monkeypatch.setattr(calibration, "_Once", Once)
    ranges = ranges_from_log_mels(model.SerializeToString(), log_mels, tensors, "minmax")
    assert chunks == [4, 2]
    model.graph.output.extend(value for value in model.graph.value_info if value.name in tensors)
    for name in set(tensors) - {"images"}:
        values = np.asarray(open_session(model.SerializeToString()).run([name], {"images": log_mels})[0])
        assert ranges[name] == pytest.approx((values.min(), values.max()), rel=1e-3, abs=1e-4)
    model = small_network()
    monkeypatch.setattr(calibration, "_WINDOWS_AT_ONCE", 100)
    at_once = ranges_from_log_mels(model.SerializeToString(), log_mels, tensors, "minmax")
    assert chunks == [4, 2, 6]
    assert {name: pytest.approx(pair, rel=1e-5) for name, pair in at_once.items()} == ranges


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_histogram_methods_stay_within_the_extremes(method: str) -> None:
    model = small_network()
    tensors = tensors_to_quantize(model, layers_to_quantize(model))
    log_mels = generated_log_mels(AUDIO, 6).log_mels
    extremes = ranges_from_log_mels(model.SerializeToString(), log_mels, tensors, "minmax")
    ranges = ranges_from_log_mels(model.SerializeToString(), log_mels, tensors, method)
    assert set(ranges) == set(tensors)
    for name, pair in ranges.items():
        assert 0 < max(map(abs, pair)) <= 1.02 * max(map(abs, extremes[name]))


class Told:
    """In the place of a calibrator of ONNX Runtime: what it is told."""

    def __init__(self, source: Path, augmented_model_path: str, **options: Any) -> None:
        self.options = options

    def select_tensors_to_calibrate(self, _: Any) -> tuple[set[str], str]:
        return {"every input and output"}, "infos"

    def augment_graph(self) -> None:
        pass


@pytest.mark.parametrize(
    ("method", "kind", "options"),
    [
        ("percentile", "Percentile", {"symmetric": True, "num_bins": 2048, "percentile": 99.999}),
        ("entropy", "Entropy", {"num_bins": 128, "num_quantized_bins": 128}),
        ("minmax", "MinMax", {}),
    ],
)
def test_what_the_calibrators_are_told(
    monkeypatch: pytest.MonkeyPatch, method: str, kind: str, options: dict[str, Any]
) -> None:
    """Fewer bins, or a smaller percentile, clip more of loud music."""
    from onnxruntime.quantization import calibrate

    monkeypatch.setattr(calibrate, f"{kind}Calibrater", Told)
    monkeypatch.setattr(calibration, "open_session", lambda augmented, fused: None)
    told = calibration._calibrator(method, Path("model.onnx"), "augmented.onnx", ["a", "b"])
    assert told.options == options
    assert told.select_tensors_to_calibrate(None) == ({"a", "b"}, "infos")


def test_a_value_is_kept_by_key_until_its_file_holds_something_else(tmp_path: Path) -> None:
    computed: list[int] = []

    def compute() -> dict[str, int]:
        computed.append(1)
        return {"a": 1}

    def valid(value: Any) -> bool:
        return value == {"a": 1}

    assert cached("k", compute, valid) == cached("k", compute, valid) == {"a": 1}
    assert len(computed) == 1
    (file,) = (tmp_path / "mer-home" / "calibration").iterdir()
    for count, content in enumerate(
        (b"{", b"", b"null", b'{"a": 2}', b'{"a": NaN}', b"[" * 10_000, b"\xff"), 2
    ):
        file.write_bytes(content)
        assert cached("k", compute, valid) == {"a": 1}
        assert len(computed) == count


def test_without_a_cache_a_value_is_computed_each_time(tmp_path: Path) -> None:
    (tmp_path / "mer-home").write_bytes(b"a file where the folder should be")
    assert cached("k", lambda: [1], lambda value: True) == [1]
    assert (tmp_path / "mer-home").is_file()


def test_the_key_changes_with_all_that_matters(tmp_path: Path) -> None:
    one, other = tmp_path / "1", tmp_path / "2"
    one.write_bytes(b"1")
    other.write_bytes(b"2")
    keys = {
        calibration_key("m", ["t"], "minmax", [one], 3),
        calibration_key("n", ["t"], "minmax", [one], 3),
        calibration_key("m", ["u"], "minmax", [one], 3),
        calibration_key("m", ["t"], "entropy", [one], 3),
        calibration_key("m", ["t"], "minmax", [other], 3),
        calibration_key("m", ["t"], "minmax", [one], 4),
    }
    assert len(keys) == 6


def test_files_that_cannot_be_read_are_no_hang_and_no_error(tmp_path: Path) -> None:
    """The decoder says later why they are skipped."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "1").write_bytes(b"1")
    paths = [tmp_path / name for name in ("none", "pipe", "1")]
    key = calibration_key("m", ["t"], "minmax", paths, 3)
    assert key != calibration_key("m", ["t"], "minmax", paths[:2], 3)


def test_what_onnx_runtime_has_to_say_stays_off_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """It names tensors as they stand in a file, which may be a stranger's."""
    model = small_network()
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1  # another batch than it gives
    tensors = tensors_to_quantize(model, layers_to_quantize(model))
    log_mels = generated_log_mels(AUDIO, 2).log_mels
    ranges_from_log_mels(model.SerializeToString(), log_mels, tensors, "minmax")
    assert capfd.readouterr() == ("", "")


def test_a_graph_that_cannot_be_calibrated_is_one_line() -> None:
    with pytest.raises(MerError, match=r"^the calibration failed: ") as refused:
        ranges_from_log_mels(b"nothing", generated_log_mels(AUDIO, 1).log_mels, ["images"], "minmax")
    assert "\n" not in str(refused.value)
