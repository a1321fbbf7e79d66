"""Does the exported graph still say what the network said? Parity, FP16's range, and accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto

from ..engine.arrays import Float32
from ..engine.data.metrics import accuracy_and_macro_f1
from ..engine.errors import MerError
from ..engine.labelling.song_label import probabilities_from_logits
from .calibration_set import SongLogMels
from .precision import FP16_MAX
from .sensitivity import open_session

Infer = Callable[[Float32], Float32]

FP16_WARN = 32_768.0
"""Half of FP16's range: louder music than was tried may pass the rest."""

LARGEST_ERROR: Mapping[str, float] = {"fp16": 0.05, "int8": 0.5}
"""Relative errors that no rounding explains: beyond them the graph is taken for broken."""

LARGEST_TORCH_ERROR = 1e-4
_FEW = 8  # windows for the batches that only show that batching works


class GateError(MerError):
    """An export that must not be used: it differs too much from its source."""

    exit_code = 3


@dataclass(frozen=True)
class Parity:
    """How far logits are from the FP32 graph's.

    ``max_error`` is absolute, ``relative_error`` that over the largest reference logit, ``agreement``
    the share of windows with the same label; ``flips`` counts songs whose label changes. ``by_batch``
    is the maximum error at each batch size.
    """

    max_error: float
    relative_error: float
    agreement: float
    flips: int
    songs: int
    windows: int
    by_batch: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Accuracy:
    """Macro-F1 and accuracy over songs, in percent, of the FP32 graph and of the exported one."""

    macro_f1_fp32: float
    macro_f1: float
    accuracy_fp32: float
    accuracy: float
    songs: int

    @property
    def drop(self) -> float:
        """Points of macro-F1 lost; negative where the export is better."""
        return self.macro_f1_fp32 - self.macro_f1

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "drop": self.drop}


@dataclass(frozen=True)
class Fp16Range:
    """The largest magnitude that each FP16 node gave, the largest first; infinite where it overflowed."""

    peaks: tuple[tuple[str, float], ...]
    windows: int

    @property
    def over(self) -> list[str]:
        return [name for name, peak in self.peaks if not peak <= FP16_MAX]

    @property
    def near(self) -> list[str]:
        return [name for name, peak in self.peaks if FP16_WARN < peak <= FP16_MAX]

    def to_json(self) -> dict[str, Any]:
        top = [{"layer": name, "peak": peak} for name, peak in self.peaks[:5]]
        return {"largest": top, "limit": FP16_MAX, "windows": self.windows}


@dataclass(frozen=True)
class Checks:
    """All that was measured of one graph; ``torch`` is the FP32 graph against the checkpoint."""

    parity: Parity | None = None
    range: Fp16Range | None = None
    accuracy: Accuracy | None = None
    torch: Parity | None = None


def logits_by_batch(infer: Infer, images: Float32, best_batch: int) -> dict[int, Float32]:
    """Logits at batches 1 and 2 of the first few windows, and at ``best_batch`` of all of them.

    Raises:
        GateError: logits that are not finite.
    """
    found = {}
    for batch in sorted({1, 2, best_batch}):
        part = images if batch == best_batch else images[:_FEW]
        starts = range(0, len(part), batch)
        logits = np.concatenate([infer(np.ascontiguousarray(part[at : at + batch])) for at in starts])
        if not np.isfinite(logits).all():
            raise GateError(f"the network gives NaN or infinite logits at batch {batch}")
        found[batch] = logits
    return found


def parity(
    reference: dict[int, Float32], candidate: dict[int, Float32], songs: SongLogMels, temperature: float
) -> Parity:
    """Compares what ``logits_by_batch`` gave for two networks on the same images."""
    best = max(reference, key=lambda batch: len(reference[batch]))
    errors = {batch: float(np.abs(candidate[batch] - reference[batch]).max()) for batch in reference}
    labels = [song_labels(logits[best], songs, temperature) for logits in (reference, candidate)]
    same = reference[best].argmax(axis=1) == candidate[best].argmax(axis=1)
    largest = float(np.abs(reference[best]).max())
    return Parity(
        max_error=max(errors.values()),
        relative_error=max(errors.values()) / max(largest, 1e-12),
        agreement=float(same.mean()),
        flips=int((labels[0] != labels[1]).sum()),
        songs=len(songs.songs),
        windows=len(same),
        by_batch={str(batch): error for batch, error in errors.items()},
    )


def accuracy(
    reference: Float32,
    candidate: Float32,
    songs: SongLogMels,
    truth: np.ndarray[Any, Any],
    temperature: float,
) -> Accuracy:
    """Scores two networks' logits of the same windows, song by song; ``truth`` are label positions."""
    scores = [
        accuracy_and_macro_f1(truth, song_labels(logits, songs, temperature))
        for logits in (reference, candidate)
    ]
    (accuracy_fp32, f1_fp32), (accuracy_now, f1_now) = scores
    return Accuracy(100 * f1_fp32, 100 * f1_now, 100 * accuracy_fp32, 100 * accuracy_now, len(truth))


def song_labels(logits: Float32, songs: SongLogMels, temperature: float) -> np.ndarray[Any, Any]:
    """Each song's label as mer-label would give it: of the mean of its windows' probabilities."""
    by_window = probabilities_from_logits(logits, temperature)
    return np.asarray([by_window[rows].mean(axis=0).argmax() for rows in songs.songs])


def fp16_range(model: ModelProto, images: Float32) -> Fp16Range:
    """Runs a graph with every FP16 node's output exposed, window by window.

    ONNX Runtime computes FP16 nodes in FP32 on a CPU, and what overflows on a GPU stays finite
    inside; only what leaves the graph is really rounded to FP16.
    """
    shown = ModelProto()
    shown.CopyFrom(model)
    constants = {tensor.name for tensor in model.graph.initializer}
    outputs = {value.name for value in model.graph.output}
    makers: dict[str, str] = {}
    for node in model.graph.node:
        if not constants.issuperset(filter(None, node.input)):  # weights' DequantizeLinear: no data in it
            makers.update({name: node.name for name in node.output if name and name not in outputs})
    shown.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in makers)
    session = open_session(shown.SerializeToString())
    names = [each.name for each in session.get_outputs() if each.type == "tensor(float16)"]
    if not names:
        return Fp16Range((), len(images))
    peaks = dict.fromkeys(names, 0.0)
    for at in range(len(images)):
        window = np.ascontiguousarray(images[at : at + 1])
        values: Any = session.run(names, {"images": window})
        for name, value in zip(names, values, strict=True):
            # max() of two takes no NaN for what it is: a NaN counts as beyond the range.
            low, high = float(value.min()), float(value.max())
            peak = max(-low, high) if low == low and high == high else np.inf
            peaks[name] = max(peaks[name], peak)
    ranked = sorted(((makers[name], peak) for name, peak in peaks.items()), key=lambda item: -item[1])
    return Fp16Range(tuple(ranked), len(images))


def check_parity(found: Parity, precision: str) -> None:
    """Refuses an error that no rounding explains.

    Raises:
        GateError: it is beyond ``LARGEST_ERROR``.
    """
    limit = LARGEST_ERROR.get(precision)
    if limit is not None and not found.relative_error <= limit:
        raise GateError(
            f"{precision} is off by {found.relative_error:.1%} of the largest logit (at most {limit:.0%} is "
            "rounding): this graph is broken"
        )


def check_range(found: Fp16Range) -> None:
    """Refuses what overflows FP16.

    Raises:
        GateError: a node beyond FP16's range; the message names it.
    """
    if found.over:
        keep = " ".join(f"--keep {name}=fp32" for name in found.over[:5])
        more = f" (and {len(found.over) - 5} more)" if len(found.over) > 5 else ""
        raise GateError(f"FP16 overflows at {found.over[0]}: beyond {FP16_MAX:,.0f}. Try {keep}{more}")
