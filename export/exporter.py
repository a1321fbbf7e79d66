"""One export: convert, verify, compile, write; nothing is written that was not verified."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto

from ..engine.artifact import Artifact, open_artifact
from ..engine.errors import DeviceError, UsageError
from ..engine.files import publish, staging
from ..engine.runtimes import open_runtime
from .checks import (
    LARGEST_TORCH_ERROR,
    Accuracy,
    Checks,
    Fp16Range,
    GateError,
    Parity,
    accuracy,
    check_parity,
    check_range,
    fp16_range,
    logits_by_batch,
    parity,
)
from .engine_builder import Builder, EngineOptions, engine_from_onnx, gpu_capability
from .eval_set import Evidence
from .output_files import Format, Precision, targets_of
from .precision import (
    Ranges,
    fp16_from_onnx,
    int8_from_onnx,
    layers_to_quantize,
    precision_by_op,
    tensors_to_quantize,
)
from .report import accuracy_line, files_line, parity_line, range_line, report_of, sidecar_of, torch_line
from .sensitivity import LayerError, rank_layers
from .source import EXPORT_KEY, Infer, Source

_RANGE_WINDOWS = 32
_SENSITIVITY_WINDOWS = 32

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What to make of every source. ``keep`` are layers one precision up, ``keep_fp32`` those in FP32."""

    out: str = "."
    form: Format = "engine"
    keep: tuple[str, ...] = ()
    keep_fp32: tuple[str, ...] = ()
    max_drop: float = 1.0
    engine: EngineOptions = field(default_factory=EngineOptions)
    builder: Builder | None = None


@dataclass(frozen=True)
class Exported:
    """A finished export."""

    name: str
    precision: Precision
    checks: Checks
    files: tuple[Path, ...]
    seconds: float


@dataclass(frozen=True)
class Job:
    """A source with its evidence: what its precisions share is computed once."""

    source: Source
    evidence: Evidence
    plan: Plan
    say: Say

    @cached_property
    def reference(self) -> dict[int, Any]:
        """The FP32 graph's logits by batch."""
        return logits_by_batch(*self._run(self.source.artifact))

    @cached_property
    def torch(self) -> Parity | None:
        """FP32 ONNX against the checkpoint's own network; None where an .onnx was given."""
        infer = self.source.torch_infer
        if infer is None:
            return None
        few = self.evidence.few(16)
        temperature = self.source.artifact.spec.temperature
        expected = logits_by_batch(infer, few.images, self._best_batch)
        found = parity(
            expected,
            logits_by_batch(self._infer(self.source.artifact), few.images, self._best_batch),
            few,
            temperature,
        )
        if not found.max_error <= LARGEST_TORCH_ERROR:
            raise GateError(
                f"the FP32 ONNX is off PyTorch by {found.max_error:.2g}, over {LARGEST_TORCH_ERROR:g}"
            )
        return found

    @cached_property
    def ranges(self) -> Ranges:
        tensors = _tensors(self.source.model())
        return self.evidence.ranges(self.source.artifact, tensors, self.say)

    def rank(self) -> list[LayerError]:
        """See ``rank_layers``."""
        images = self.evidence.calibration().spread(_SENSITIVITY_WINDOWS)
        keep = (*self.plan.keep, *self.plan.keep_fp32)
        return rank_layers(self.source.model(), self.ranges, images, keep)

    def check(self, model: ModelProto, content: bytes, precision: Precision) -> Checks:
        """Compares and scores a graph; says what it finds before it refuses.

        Raises:
            GateError: the graph must not be used.
        """
        artifact, songs = self.source.artifact, self.evidence.songs
        compared = scored = reached = None
        temperature = artifact.spec.temperature
        candidate = self.reference
        if precision != "fp32":
            reached = fp16_range(model, songs.spread(_RANGE_WINDOWS))
            self.say(range_line(reached))
            check_range(reached)
            candidate = logits_by_batch(*self._run(_with_content(artifact, content)))
            compared = parity(self.reference, candidate, songs, temperature)
            self.say(parity_line(compared, self.evidence))
            check_parity(compared, precision)
        if self.evidence.truth is not None:
            best = max(candidate, key=lambda batch: len(candidate[batch]))
            truth = self.evidence.truth
            scored = accuracy(self.reference[best], candidate[best], songs, truth, temperature)
            self.say(accuracy_line(scored, precision))
            self._check_drop(scored, reached, precision)
        return Checks(compared, reached, scored, self.torch)

    def _check_drop(self, scored: Accuracy, reached: Fp16Range | None, precision: Precision) -> None:
        if scored.drop <= self.plan.max_drop:
            return
        if precision == "int8":
            self.say("looking for the layers that do the harm")
            worst = " ".join(f"--keep {each.layer}" for each in self.rank()[:3])
        else:
            worst = " ".join(f"--keep {name}=fp32" for name, _ in (reached.peaks if reached else ())[:3])
        raise GateError(
            f"{precision} loses {scored.drop:.1f} points of macro-F1, at most {self.plan.max_drop:g} "
            f"are allowed. Try {worst}, more or other calibration data, or another precision"
        )

    @property
    def _best_batch(self) -> int:
        return self.plan.engine.batches[1]

    def _infer(self, artifact: Artifact) -> Infer:
        return open_runtime(artifact, "onnxruntime").infer

    def _run(self, artifact: Artifact) -> tuple[Infer, Any, int]:
        return self._infer(artifact), self.evidence.songs.images, self._best_batch


def export(job: Job, precision: Precision) -> Exported:
    """Makes one precision of a source: its graph, and with a builder its engine and sidecar.

    Raises:
        GateError: the graph differs too much; nothing is written.
        MerError: it cannot be converted or compiled.
    """
    began = time.perf_counter()
    plan, artifact = job.plan, job.source.artifact
    job.say(f"{artifact.name} {precision.upper()}")
    if job.torch is not None:
        job.say(torch_line(job.torch))
    model = _converted(job, precision)
    checks = job.check(model, model.SerializeToString(), precision)
    kept = {"one step up": list(plan.keep), "fp32": list(plan.keep_fp32)}
    report = report_of(artifact, job.evidence, precision, checks, model, kept)
    _stamp(model, report)
    content = model.SerializeToString()
    del model
    targets = targets_of(plan.out, artifact.name, precision, plan.engine.gpu)
    with staging(targets.folder) as place:
        (place / targets.onnx).write_bytes(content)
        names = [targets.onnx]
        if plan.form == "engine" and plan.builder is not None:
            engine = engine_from_onnx(content, plan.engine, plan.builder)
            (place / targets.engine).write_bytes(engine.content)
            sidecar = sidecar_of(report, targets, content, engine, artifact)
            names += [targets.engine, targets.sidecar]
            (place / targets.sidecar).write_text(json.dumps(sidecar, indent=1))
            sidecar["engine_parity"] = _engine_parity(job, place / targets.engine)
            (place / targets.sidecar).write_text(json.dumps(sidecar, indent=1))
        # The sidecar goes last: an engine beside an older sidecar does not match its hash and is refused.
        publish(place, targets.folder, names)
    files = tuple(targets.folder / name for name in names)
    job.say(files_line(files))
    return Exported(artifact.name, precision, checks, files, time.perf_counter() - began)


def _tensors(model: ModelProto) -> list[str]:
    return tensors_to_quantize(model, layers_to_quantize(model))


def _converted(job: Job, precision: Precision) -> ModelProto:
    plan = job.plan
    ranges = job.ranges if precision == "int8" else {}  # before the model is there: VGG16 is 0.5 GB
    model = job.source.model()
    if precision == "fp16":
        model = fp16_from_onnx(model, [*plan.keep, *plan.keep_fp32])
    elif precision == "int8":
        model = int8_from_onnx(model, ranges, plan.keep, plan.keep_fp32)
    found = {name for op in ("Conv", "Gemm") for name in precision_by_op(model).get(op, {})}
    if precision not in found:
        raise UsageError(f"--keep leaves no layer in {precision}: this would be {precision} by name only")
    return model


def _engine_parity(job: Job, engine: Path) -> dict[str, Any]:
    """The engine's own logits against the FP32 graph's, where a GPU and a runtime for it are."""
    if gpu_capability() is None:
        return {"checked": False, "why": "no GPU on the machine that compiled it"}
    songs, artifact = job.evidence.songs, open_artifact(str(engine))
    least, best, _ = job.plan.engine.batches
    if least > 1:
        return {"checked": False, "why": "--min-batch is above 1"}
    try:
        runtime = open_runtime(artifact)
    except DeviceError as error:  # compiled for another GPU than this machine's, or PyCUDA is missing
        return {"checked": False, "why": str(error)}
    with runtime:
        logits = logits_by_batch(runtime.infer, songs.images, best)
    found = parity(job.reference, logits, songs, artifact.spec.temperature)
    check_parity(found, "fp16" if "fp16" in engine.stem else "int8")
    return {"checked": True, **found.to_json()}


def _stamp(model: ModelProto, report: dict[str, Any]) -> None:
    """Keeps the ModelSpec and everything else in metadata_props, and adds the report."""
    kept = {prop.key: prop.value for prop in model.metadata_props}
    onnx.helper.set_model_props(model, {**kept, EXPORT_KEY: json.dumps(report, sort_keys=True)})


def _with_content(artifact: Artifact, content: bytes) -> Artifact:
    return Artifact(artifact.name, artifact.path, artifact.spec, hashlib.sha256(content).hexdigest(), content)
