"""The checks of the first hour in order: what is quick or worth most first, for the time may be short."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any

from .bench import Bench


@dataclass(frozen=True)
class Check:
    """One check.

    Args:
        place: the file of this folder whose ``check_NAME`` it is.
        weight: its part of the time.
        asks: the question that it answers.
        start_s: seconds beside its measuring, at most: torch, the driver's context, kernels.
    """

    name: str
    place: str
    weight: float
    asks: str
    start_s: float = 90.0

    def missing(self) -> str | None:
        """Why it cannot run here; None where it can."""
        needed = {}
        if self.place in ("with_dali", "with_tensorrt"):
            needed = {"DALI": _is_there("nvidia.dali"), "soundfile": _is_there("soundfile")}
        if self.place == "with_tensorrt":
            needed["TensorRT"] = any(_is_there(name) for name in ("tensorrt", "tensorrt_rtx"))
            needed["merkit"] = _is_installed()
        lacking = [name for name, there in needed.items() if not there]
        return f"not installed: {', '.join(lacking)}" if lacking else None

    def function(self) -> Callable[[Bench], dict[str, Any]]:
        """Imported where it runs, with torch."""
        return getattr(import_module(f".{self.place}", __package__), f"check_{self.name}")


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is missing
        return False


def _is_installed() -> bool:
    """Whether commands find this package without the script's help."""
    try:
        metadata.version("merkit")
    except metadata.PackageNotFoundError:
        return False
    return True


CHECKS = (
    Check("streams", "correct", 4, "Are logits right in whatever order the streams run?"),
    Check("mel", "speed", 2, "Are log-mels made on the GPU those of the reference?"),
    Check("feeds", "speed", 2, "How fast do samples reach the GPU?"),
    Check("limits", "speed", 1, "What does the card give at most?"),
    Check("threads", "correct", 2, "May threads share a runtime, and a GPU?"),
    Check("memory", "correct", 1, "What happens when the GPU's memory is full?"),
    Check("killed", "faults", 1, "What does a process that is killed leave behind?"),
    Check("fault", "faults", 1, "What does a fault that a context does not survive do?"),
    Check("opens", "correct", 6, "Is anything left behind by 10,000 opens?"),
    Check("networks", "speed", 12, "Do all networks agree with ONNX Runtime, and how fast are they?"),
    Check("sanitizer", "faults", 1, "Does NVIDIA's memory checker find an access that is not allowed?", 240),
    Check("dali", "with_dali", 2, "Are DALI's log-mels on the GPU those of the reference?"),
    Check("real_mel", "with_dali", 2, "Are DALI's log-mels of real music those of librosa?"),
    Check("songs", "with_dali", 4, "Are the rows of songs that DALI and a stand-in labelled the CPU's?"),
    Check("overlap", "with_dali", 3, "How fast is DALI, and does it compute while the network does?"),
    Check("dali_memory", "with_dali", 1, "What does DALI do when the GPU's memory is full?"),
    Check("tests", "with_tensorrt", 4, "Do the tests that need a GPU pass, with TensorRT and DALI?"),
    Check("engines", "with_tensorrt", 16, "Do engines agree with ONNX Runtime, and how fast are they?"),
    Check("labelling", "with_tensorrt", 16, "How many songs a second are labelled, and does memory grow?"),
)
