"""Ranges of activations for INT8, by ONNX Runtime's calibrators, fed in chunks and cached by hash."""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Callable, Collection, Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..engine.arrays import Float32
from ..engine.artifact import models_home
from ..engine.data.clip import Clip, id_or_none
from ..engine.errors import MerError
from ..engine.files import write_whole
from ..engine.strict_json import json_from_text
from .json_text import json_from_value
from .library_step import library_step
from .onnx_session import open_session
from .precision import Ranges

# ONNX Runtime keeps every activation of its input until it has seen all of it: 256 windows of VGG16
# would be 15 GB, four are about 200 MB.
_WINDOWS_AT_ONCE = 4
_CACHE_FORMAT = 4  # older files name songs that gave no audio by their paths

_Json = TypeVar("_Json")


def ranges_from_log_mels(
    content: bytes, log_mels: Float32, tensors: Collection[str], method: str = "percentile"
) -> Ranges:
    """The range of each tensor over all windows, computed in chunks.

    Args:
        content: a serialized FP32 ONNX model.
        log_mels: float32 ``[windows, 1, mels, frames]``.
        tensors: names of activations, from ``tensors_to_quantize``.
        method: "percentile" (99.999), "entropy" or "minmax".

    Raises:
        MerError: ONNX Runtime cannot calibrate the graph.
    """
    with tempfile.TemporaryDirectory(prefix="mer-calibration-") as folder:
        source = Path(folder) / "model.onnx"
        # It prints a line for every chunk.
        with redirect_stdout(io.StringIO()), library_step("the calibration"):
            source.write_bytes(content)
            calibrator = _calibrator(method, source, str(Path(folder) / "augmented.onnx"), tensors)
            source.unlink()
            for start in range(0, len(log_mels), _WINDOWS_AT_ONCE):
                chunk = np.ascontiguousarray(log_mels[start : start + _WINDOWS_AT_ONCE])
                calibrator.collect_data(_Once(chunk))
            computed = calibrator.compute_data()
    low_high = {name: computed[name].range_value for name in tensors}
    return {name: (_scalar(low), _scalar(high)) for name, (low, high) in low_high.items()}


def cached(key: str, compute: Callable[[], _Json], valid: Callable[[Any], bool]) -> _Json:
    """The JSON value that is cached under ``key``, if it is ``valid``, else what ``compute`` returns."""
    try:
        path = models_home().parent / "calibration" / f"{key}.json"
        value = json_from_text(path.read_bytes())
    except (OSError, ValueError, MerError):  # there is no cache, or no home for one
        value = None
    if value is not None and valid(value):
        return value
    value = compute()
    with suppress(OSError, MerError):  # without a cache the next export takes longer, nothing else
        path = models_home().parent / "calibration" / f"{key}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json_from_value(value))
    return value


def calibration_key(
    sha256: str, tensors: Collection[str], method: str, paths: Sequence[Path], windows: int
) -> str:
    """SHA-256 over everything that the ranges depend on.

    That is the model with its spec (``sha256``), the tensors, the method, the files' bytes and the
    number of windows. Files that cannot be read are all alike.
    """
    key = hashlib.sha256(f"{_CACHE_FORMAT} {sha256} {method} {windows} {' '.join(tensors)}".encode())
    for path in paths:
        key.update((id_or_none(Clip(path, "", "")) or "").encode() + b"\n")
    return key.hexdigest()


class _Once:
    """One chunk, as a CalibrationDataReader."""

    def __init__(self, log_mels: Float32) -> None:
        self._feed: dict[str, Float32] | None = {"images": log_mels}

    def get_next(self) -> dict[str, Float32] | None:
        feed, self._feed = self._feed, None
        return feed


def _scalar(value: Any) -> float:
    """The calibrators return scalars or arrays of one, which depends on the method."""
    return float(np.ravel(value)[0])


def _calibrator(method: str, source: Path, augmented: str, tensors: Collection[str]) -> Any:
    from onnxruntime.quantization import calibrate

    # The bins are create_calibrator's defaults: the classes' own differ.
    calibrator: Any
    if method == "percentile":
        calibrator = calibrate.PercentileCalibrater(
            source, augmented_model_path=augmented, symmetric=True, num_bins=2048, percentile=99.999
        )
    elif method == "entropy":
        calibrator = calibrate.EntropyCalibrater(
            source, augmented_model_path=augmented, num_bins=128, num_quantized_bins=128
        )
    else:
        calibrator = calibrate.MinMaxCalibrater(source, augmented_model_path=augmented)
    select_all = calibrator.select_tensors_to_calibrate

    def select(model: Any) -> tuple[set[str], Any]:
        _, infos = select_all(model)
        return set(tensors), infos

    # create_calibrator would keep all inputs and outputs of Conv and Gemm: twice what is needed.
    calibrator.select_tensors_to_calibrate = select
    calibrator.augment_graph()
    # Its own create_inference_session lets it log.
    calibrator.infer_session = open_session(augmented, fused=False)
    calibrator.model = None  # the session has its own copy of the weights
    return calibrator
