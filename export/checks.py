"""Does an exported graph still do what the network does? Parity and accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..engine.arrays import Float32
from ..engine.data.metrics import Integers, accuracy_and_macro_f1, bootstrap_difference
from ..engine.errors import MerError
from ..engine.labelling.song_label import probabilities_from_logits
from .library_step import library_step
from .onnx_session import open_session
from .song_log_mels import SongLogMels
from .source import Infer

LARGEST_ERROR: Mapping[str, float] = {"fp32": 0.005, "fp16": 0.05, "int8": 0.5}
"""Relative errors that rounding does not explain: beyond them the graph is taken to be broken.

FP32 differs by the order of its sums (about 1e-5); with TF32's ten bits, which engines here do not use, it
would differ as much as FP16 does (0.0005 measured)."""

LARGEST_TORCH_ERROR = 1e-4
"""Of the largest logit, where that is above 1: the order of sums in float32 makes 1e-6 to 1e-5 of it."""

_LARGEST_EVIDENCE_ERROR = 1e-3  # of log odds and log distances; the order of sums makes 1e-5
_CHANCE = 0.05
_Z_95, _Z_80 = 1.96, 0.84  # of a normal distribution: a difference is seen at 5 %, in 80 % of trials
_FEWEST = 20  # songs: five of each of four labels
_FEW = 8  # windows at the batches that only show that batching works


class GateError(MerError):
    """An export that must not be used: it differs too much from its source.

    ``layers`` are the layers that cause it, the worst first, where they are known; leaving them in
    ``precision`` ("fp16" or "fp32") may help.
    """

    exit_code = 3

    def __init__(self, message: str, layers: Sequence[str] = (), precision: str = "") -> None:
        super().__init__(message)
        self.layers = tuple(layers)
        self.precision = precision


@dataclass(frozen=True)
class Parity:
    """How far a network's logits are from the FP32 graph's.

    ``max_error`` is absolute, ``relative_error`` is it over the largest reference logit, ``agreement``
    the share of windows with the same label; ``flips`` counts songs that get another label. ``by_batch``
    is the maximum error at each batch size.
    """

    max_error: float
    relative_error: float
    agreement: float
    flips: int
    songs: int
    windows: int
    by_batch: dict[str, float]


@dataclass(frozen=True)
class Accuracy:
    """Macro-F1 and accuracy over songs of the FP32 graph and of the exported one, as shares (0 to 1).

    ``flips`` counts songs that get another label; ``lost`` those that were right and no longer are, ``won``
    those that became right. ``drop_interval`` is the drop's 95 % interval, paired song by song; None where
    there are too few songs for one. Not ``claimed`` is what was measured on songs that
    the model was trained on: there only the difference says something.
    """

    macro_f1_fp32: float
    macro_f1: float
    accuracy_fp32: float
    accuracy: float
    songs: int
    flips: int = 0
    lost: int = 0
    won: int = 0
    drop_interval: tuple[float, float] | None = None
    claimed: bool = True

    @property
    def drop(self) -> float:
        """The share of macro-F1 that is lost; negative where the export is better."""
        return self.macro_f1_fp32 - self.macro_f1

    @property
    def may_be_chance(self) -> bool:
        """Whether the drop is no more than chance explains, at 5 %.

        Its interval holds 0 or, where the songs are too few for one, an exact sign test of those that were
        lost and won (McNemar) finds no difference.
        """
        if self.drop_interval:
            return self.drop_interval[0] <= 0
        changed = self.lost + self.won
        as_many = sum(math.comb(changed, n) for n in range(self.lost, changed + 1)) / 2**changed
        return 2 * as_many > _CHANCE

    @property
    def right_fp32(self) -> int:
        """The songs that FP32 labels rightly: a drop is of these."""
        return round(self.accuracy_fp32 * self.songs)

    @property
    def shows_drops(self) -> bool:
        """Whether a drop could be seen: FP32 has right answers to lose, and losing all would be no chance."""
        return self.right_fp32 > 0 and (self.drop_interval is not None or 2 * 0.5**self.right_fp32 <= _CHANCE)

    @property
    def songs_needed(self) -> int:
        """About how many songs would show a drop of this size, in four of five trials; two digits of it."""
        if self.drop_interval:
            deviation = (self.drop_interval[1] - self.drop_interval[0]) / (2 * _Z_95)
        else:
            changed, lost = (self.lost + self.won) / self.songs, (self.lost - self.won) / self.songs
            deviation = math.sqrt((changed - lost**2) / self.songs)
        needed = self.songs * ((_Z_95 + _Z_80) * deviation / self.drop) ** 2
        needed = max(needed, self.songs + 1, _FEWEST)
        step = 10 ** max(0, math.floor(math.log10(needed)) - 1)
        return math.ceil(needed / step) * step

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values: shares; without the scores themselves where they are not claimed."""
        scores = ("macro_f1_fp32", "macro_f1", "accuracy_fp32", "accuracy")
        values = {k: v for k, v in asdict(self).items() if self.claimed or k not in scores}
        return {**values, "drop": self.drop}


def logits_by_batch(infer: Infer, log_mels: Float32, best_batch: int) -> dict[int, Float32]:
    """Logits ``[windows, labels]`` at batches 1 and 2 of a few windows, and at ``best_batch`` of all.

    Raises:
        GateError: logits that are not finite.
        MerError: the runtime cannot compute the network.
    """
    by_batch = {}
    for batch in sorted({1, 2, best_batch}):
        windows = log_mels if batch == best_batch else log_mels[:_FEW]
        starts = range(0, len(windows), batch)
        with library_step(f"computing the network at batch {batch}"):
            logits = np.concatenate([infer(np.ascontiguousarray(windows[i : i + batch])) for i in starts])
        if not np.isfinite(logits).all():
            raise GateError(f"the network gives NaN or infinite logits at batch {batch}")
        by_batch[batch] = logits
    return by_batch


def parity(
    reference: dict[int, Float32], candidate: dict[int, Float32], songs: SongLogMels, temperature: float
) -> Parity:
    """Compares two networks by what ``logits_by_batch`` returned for the windows of ``songs``."""
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
    truth: Integers,
    temperature: float,
    groups: Sequence[str] | None = None,
) -> Accuracy:
    """Scores two networks' logits ``[windows, labels]`` of the same songs, and compares them song by song.

    ``truth`` has each song's label as its position in the model's labels, ``groups`` its group.
    """
    before, after = (song_labels(logits, songs, temperature) for logits in (reference, candidate))
    accuracy_fp32, macro_f1_fp32 = accuracy_and_macro_f1(truth, before)
    accuracy_now, macro_f1_now = accuracy_and_macro_f1(truth, after)
    gain = bootstrap_difference(truth, before, after, groups)
    return Accuracy(
        macro_f1_fp32,
        macro_f1_now,
        accuracy_fp32,
        accuracy_now,
        len(truth),
        flips=int((before != after).sum()),
        lost=int(((before == truth) & (after != truth)).sum()),
        won=int(((before != truth) & (after == truth)).sum()),
        drop_interval=(0.0 - gain[1], 0.0 - gain[0]) if gain else None,
    )


def song_labels(logits: Float32, songs: SongLogMels, temperature: float) -> Integers:
    """Each song's label, as a position, by mer-label's rule: from the mean of its windows' probabilities."""
    by_window = probabilities_from_logits(logits, temperature)
    return np.asarray([by_window[windows].mean(axis=0).argmax() for windows in songs.songs])


def check_evidence(source: bytes, exported: bytes, log_mels: Float32) -> None:
    """Compares the output ``evidence`` of two graphs on the same images: it is FP32 in both.

    Raises:
        GateError: they differ by more than rounding does.
    """
    given = [
        open_session(content).run(["evidence"], {"images": log_mels})[0] for content in (source, exported)
    ]
    error = float(np.abs(np.subtract(*given)).max())
    if not error <= _LARGEST_EVIDENCE_ERROR:
        raise GateError(f"the graph's evidence is off by {error:.2g}: this graph is broken")


def check_parity(measured: Parity, precision: str) -> None:
    """Refuses an error that rounding does not explain.

    Raises:
        GateError: it is beyond ``LARGEST_ERROR``.
    """
    limit = LARGEST_ERROR[precision]
    if not measured.relative_error <= limit:
        raise GateError(
            f"{precision} is off by {measured.relative_error:.2g} of the largest logit (at most {limit:g} is "
            "rounding): this graph is broken"
        )
