"""Activation ranges for INT8, by ONNX Runtime's calibrators, fed in chunks and kept by hash."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tempfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..engine.arrays import Float32
from ..engine.artifact import models_home
from ..engine.errors import MerError
from ..engine.files import write_whole
from .precision import Ranges

METHODS = ("percentile", "entropy", "minmax")

# ONNX Runtime keeps every activation of what it is fed until it has seen all of it: 256 windows of
# VGG16 would be 15 GB, four are some 200 MB.
_WINDOWS_AT_ONCE = 4


def ranges_from_log_mels(
    content: bytes,
    images: Float32,
    tensors: Collection[str],
    method: str = "percentile",
    progress: Callable[[int], None] | None = None,
) -> Ranges:
    """The range of each tensor over ``images``, in chunks.

    Args:
        content: a serialized FP32 ONNX model.
        images: float32 ``[windows, 1, mels, frames]``.
        tensors: names of activations, as ``tensors_to_quantize`` gives them.
        method: "percentile" (99.999), "entropy" or "minmax".
        progress: is called with the number of windows done.
    """
    with tempfile.TemporaryDirectory(prefix="mer-calibration-") as folder:
        source = Path(folder) / "model.onnx"
        source.write_bytes(content)
        with contextlib.redirect_stdout(io.StringIO()):  # it prints a line for every chunk
            calibrator = _calibrator(method, source, str(Path(folder) / "augmented.onnx"), tensors)
            source.unlink()
            for start in range(0, len(images), _WINDOWS_AT_ONCE):
                part = np.ascontiguousarray(images[start : start + _WINDOWS_AT_ONCE])
                calibrator.collect_data(_Once(part))
                if progress:
                    progress(start + len(part))
            found = calibrator.compute_data()
    ranges = {name: tuple(float(np.ravel(v)[0]) for v in found[name].range_value) for name in tensors}
    return {name: (low, high) for name, (low, high) in ranges.items()}


def cached_ranges(key: str, make: Callable[[], Ranges]) -> Ranges:
    """What ``make`` gave for this key before, else what it gives now."""
    path = models_home().parent / "calibration" / f"{key}.json"
    try:
        return {name: (low, high) for name, (low, high) in json.loads(path.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        ranges = make()
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(ranges))
    return ranges


def calibration_key(
    sha256: str, tensors: Collection[str], method: str, paths: Sequence[Path], windows: int
) -> str:
    """SHA-256 over all that the ranges depend on: model (its spec too), tensors, method, files' bytes.

    Raises:
        MerError: a file cannot be read.
    """
    key = hashlib.sha256(f"{sha256} {method} {windows} {' '.join(tensors)}".encode())
    for path in paths:
        try:
            with path.open("rb") as file:
                key.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise MerError(f"{path} cannot be read: {error.strerror}") from None
    return key.hexdigest()


class _Once:
    """One chunk, as a CalibrationDataReader."""

    def __init__(self, images: Float32) -> None:
        self._feed: dict[str, Float32] | None = {"images": images}

    def get_next(self) -> dict[str, Float32] | None:
        feed, self._feed = self._feed, None
        return feed


def _calibrator(method: str, source: Path, augmented: str, tensors: Collection[str]) -> Any:
    from onnxruntime.quantization import calibrate

    # The bins are create_calibrator's defaults: the classes' own differ.
    made: Any
    if method == "percentile":
        made = calibrate.PercentileCalibrater(
            source, augmented_model_path=augmented, symmetric=True, num_bins=2048, percentile=99.999
        )
    elif method == "entropy":
        made = calibrate.EntropyCalibrater(
            source, augmented_model_path=augmented, num_bins=128, num_quantized_bins=128
        )
    else:
        made = calibrate.MinMaxCalibrater(source, augmented_model_path=augmented)
    every = made.select_tensors_to_calibrate

    def select(model: Any) -> tuple[set[str], Any]:
        _, infos = every(model)
        return set(tensors), infos

    # create_calibrator would keep all inputs and outputs of Conv and Gemm: twice what is needed.
    made.select_tensors_to_calibrate = select
    made.augment_graph()
    made.create_inference_session()
    made.model = None  # the session has its own copy of the weights
    return made
