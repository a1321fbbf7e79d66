"""One source's job: results that all its precisions share, and the checks that each of them must pass."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from onnx import ModelProto

from ..engine.arrays import Float32
from ..engine.artifact import Artifact
from ..engine.errors import MerError, UsageError
from ..engine.runtimes import open_runtime
from .builders import Builder, EngineOptions
from .calibration_set import Calibration, CalibrationSet
from .checks import (
    LARGEST_TORCH_ERROR,
    Accuracy,
    GateError,
    Parity,
    accuracy,
    check_parity,
    logits_by_batch,
    parity,
)
from .eval_set import EvalSet
from .fp16_range import check_range, fp16_range, layers_to_keep
from .output_files import Format, Precision
from .plain_graph import check_dense
from .precision import layers_to_quantize, tensors_to_quantize
from .report import Checks, accuracy_line, parity_line, range_line
from .sensitivity import LayerError, rank_layers
from .song_log_mels import SongLogMels
from .source import Source

_TORCH_WINDOWS = 16
_RANGE_WINDOWS = 32
_SENSITIVITY_WINDOWS = 32
_LAYERS_NAMED = 3  # that a refusal for lost accuracy suggests to keep


@dataclass(frozen=True)
class Plan:
    """What every source is exported to.

    Attributes:
        out: a folder (it exists or ends in a slash), or the name of the one file.
        form: stop at the verified ONNX, or compile it.
        keep: layers to leave one precision up: FP16 in INT8, FP32 in FP16.
        keep_fp32: layers to leave in FP32.
        max_drop: the share of macro-F1 that may be lost (0.01 is one point). A larger drop is refused if it
            is more than chance explains, else said.
        engine: what to compile for.
        builder: compiles; without one only the ONNX is written.
        inputs: files that are read beside the source (data, caches): no output may replace one.
        triton: a model repository that every export is added to; None is none.
    """

    out: str = "."
    form: Format = "engine"
    keep: tuple[str, ...] = ()
    keep_fp32: tuple[str, ...] = ()
    max_drop: float = 0.01
    engine: EngineOptions = field(default_factory=EngineOptions)
    builder: Builder | None = None
    inputs: tuple[Path, ...] = ()
    triton: Path | None = None


@dataclass(frozen=True)
class Job:
    """A source with the data for it; results that its precisions share are computed once.

    ``say`` gets lines for people.
    """

    source: Source
    eval_set: EvalSet
    calibration_set: CalibrationSet | None
    plan: Plan
    say: Callable[[str], None]

    @cached_property
    def reference(self) -> dict[int, Float32]:
        """The FP32 graph's logits of the evaluation set, by batch: see ``logits_by_batch``."""
        return self._logits(self.source.artifact, self.eval_set.songs.log_mels)

    @cached_property
    def torch(self) -> Parity | None:
        """FP32 ONNX against the checkpoint's own network; None where the source is an .onnx.

        Raises:
            GateError: they differ.
        """
        infer = self.source.torch_infer
        if infer is None:
            return None
        songs = SongLogMels.one_window_each(self.eval_set.songs.spread(_TORCH_WINDOWS))
        artifact = self.source.artifact
        expected = logits_by_batch(infer, songs.log_mels, self._best_batch)
        logits = self._logits(artifact, songs.log_mels)
        measured = parity(expected, logits, songs, artifact.spec.temperature)
        most = LARGEST_TORCH_ERROR * max(1.0, *(float(abs(each).max()) for each in expected.values()))
        if not measured.max_error <= most:
            raise GateError(f"the FP32 ONNX is off PyTorch by {measured.max_error:.2g}, over {most:.2g}")
        return measured

    @cached_property
    def calibration(self) -> Calibration:
        """See ``calibration_of``."""
        return calibration_of(self.source, self.calibration_set, self.say)

    def rank(self) -> list[LayerError]:
        """See ``rank``."""
        return rank(self.source, self.calibration_set, self.calibration, self.plan)

    def check(self, model: ModelProto, precision: Precision) -> Checks:
        """Compares and scores a graph; says what it measured before it refuses.

        Raises:
            GateError: the graph must not be used.
            MerError: it is calibrated on too little, and the songs cannot show what that costs.
        """
        artifact, songs = self.source.artifact, self.eval_set.songs
        compared = scored = fp16 = None

        def to_keep(nodes: Sequence[str]) -> list[str]:
            return layers_to_keep(nodes, self.source.model(), model)

        candidate = self.reference
        if precision != "fp32":
            fp16 = fp16_range(model, songs.spread(_RANGE_WINDOWS), self.source.model)
            self.say(range_line(fp16))
            check_range(fp16, to_keep)
            candidate = self._logits(_with_content(artifact, model.SerializeToString()), songs.log_mels)
            compared = parity(self.reference, candidate, songs, artifact.spec.temperature)
            self.say(parity_line(compared, self.eval_set))
            check_parity(compared, precision)
        truth = self.eval_set.truth
        if truth is not None:
            all_windows = self._best_batch
            scored = accuracy(
                self.reference[all_windows],
                candidate[all_windows],
                songs,
                truth,
                artifact.spec.temperature,
                self.eval_set.groups or None,
            )
            scored = replace(scored, claimed=not self.eval_set.heard)
            self.say(accuracy_line(scored, precision))
            peaks = [name for name, _ in fp16.peaks] if fp16 else []
            self._check_drop(scored, lambda: to_keep(peaks), precision)
            if precision != "fp32" and not scored.shows_drops and self.plan.max_drop < 1:
                self._check_unseen(scored, precision)
        return Checks(compared, fp16, scored, self.torch)

    def _check_drop(
        self, scored: Accuracy, largest_layers: Callable[[], list[str]], precision: Precision
    ) -> None:
        most = self.plan.max_drop
        if scored.drop <= most:
            return
        if most >= 0 and scored.may_be_chance:  # a gain that is asked for must be there
            self.say(
                f"  warning: too few clips to tell ({scored.songs}; about {scored.songs_needed} needed): a "
                f"drop of {100 * scored.drop:.1f} points, where {100 * most:g} are allowed, may be chance"
            )
            return
        layers: list[str] = []
        advice = ""
        if precision == "int8":
            self.say("looking for the layers that do the harm")
            layers = [result.layer for result in self.rank()[:_LAYERS_NAMED]]
            advice = f": leave {', '.join(layers)} in FP16, or calibrate on more or other data"
        elif layers := largest_layers()[:_LAYERS_NAMED]:
            advice = f": leave {', '.join(layers)} in FP32"
        raise GateError(
            f"{precision} loses {100 * scored.drop:.1f} points of macro-F1, at most "
            f"{100 * most:g} are allowed{advice}, or use another precision",
            layers,
            "fp16" if precision == "int8" else "fp32",
        )

    def _check_unseen(self, scored: Accuracy, precision: Precision) -> None:
        few = f"FP32 is right on {scored.right_fp32} of {scored.songs} songs: too few right answers to tell"
        weakness = self.calibration.weakness if precision == "int8" else ""
        if weakness:
            raise MerError(f"too little to calibrate INT8 on: {weakness}; give more labelled data: {few}")
        self.say(f"  warning: {few} what {precision} loses")

    @property
    def _best_batch(self) -> int:
        return self.plan.engine.batches[1]

    def _logits(self, artifact: Artifact, log_mels: Float32) -> dict[int, Float32]:
        with open_runtime(artifact, "onnxruntime") as runtime:
            return logits_by_batch(runtime.infer, log_mels, self._best_batch)


def calibration_of(source: Source, music: CalibrationSet | None, say: Callable[[str], None]) -> Calibration:
    """The activations' ranges for INT8.

    Raises:
        UsageError: there is no music to calibrate on, no layer that INT8 makes faster, or sparse weights.
        MerError: there is too little music.
    """
    model = source.model()
    check_dense(model)
    tensors = tensors_to_quantize(model, layers_to_quantize(model))
    if not tensors:
        raise UsageError("the network has no layer that INT8 makes faster")
    return _needed(music).calibration(source.artifact, tensors, say)


def rank(
    source: Source, music: CalibrationSet | None, calibration: Calibration, plan: Plan
) -> list[LayerError]:
    """See ``rank_layers``: over a few of the calibration windows."""
    log_mels = _needed(music).log_mels.spread(_SENSITIVITY_WINDOWS)
    return rank_layers(source.model(), calibration.ranges, log_mels, (*plan.keep, *plan.keep_fp32))


def _needed(music: CalibrationSet | None) -> CalibrationSet:
    if music is None:
        raise UsageError("INT8 needs music to calibrate on: labelled audio, or calibration data")
    return music


def _with_content(artifact: Artifact, content: bytes) -> Artifact:
    return replace(artifact, sha256=hashlib.sha256(content).hexdigest(), content=content)
