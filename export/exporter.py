"""One export: convert, verify, compile, write. Nothing is written that was not verified."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto

from ..engine.artifact import open_artifact
from ..engine.errors import DeviceError, EngineLoadError, MerError, UsageError
from ..engine.files import publish, staging
from ..engine.runtimes import open_runtime
from ..engine.runtimes.engine_compatibility import fp32_products
from .builders import gpu_capability
from .checks import check_evidence, check_parity, logits_by_batch, parity
from .engine_builder import engine_from_onnx
from .evidence import products_as_sums
from .job import Job
from .json_text import json_from_value
from .output_files import Precision, Targets, check_network, check_targets, targets_of
from .plain_graph import check_dense
from .precision import fp16_from_onnx, int8_from_onnx, precision_by_op
from .report import Checks, files_line, int8_note, loading_note, report_of, sidecar_of, torch_line
from .source import EXPORT_KEY
from .triton import check_served, write_repository

_EVIDENCE_WINDOWS = 16
# What a precision is for; the rest moves and scales numbers.
_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "GRU", "LSTM", "RNN")


@dataclass(frozen=True)
class Exported:
    """A finished export; ``bytes`` is the size of its engine or, without one, of its graph."""

    name: str
    precision: Precision
    checks: Checks
    files: tuple[Path, ...]
    bytes: int
    seconds: float


def export(job: Job, precision: Precision) -> Exported:
    """Makes one precision of a source: its graph and, with a builder, its engine and sidecar.

    Raises:
        GateError: the graph differs too much; nothing is written.
        UsageError: an output would replace an input, or a file that no export wrote.
        MerError: it cannot be converted, compiled or written.
    """
    began = time.perf_counter()
    artifact = job.source.artifact
    targets = targets_of(job.plan.out, artifact.name, precision, job.plan.engine.gpu)
    check_targets(targets, job.plan.form, [artifact.path, *job.plan.inputs])
    check_network(targets, job.plan.form, artifact.spec)
    if job.plan.triton:
        name = targets.onnx if job.plan.form == "onnx" else targets.engine
        check_served(job.plan.triton, Path(name).stem, artifact.spec)
    job.say(f"{artifact.name} {precision.upper()}")
    if job.torch is not None:
        job.say(torch_line(job.torch))
    model = _converted(job, precision)
    checks = job.check(model, precision)
    report = _report(job, precision, model, checks)
    if job.source.evidence:  # after the report: no precision was chosen for it
        model = job.source.evidence.added_to(model)
        check_evidence(
            job.source.whole.content, model.SerializeToString(), job.eval_set.songs.spread(_EVIDENCE_WINDOWS)
        )
    _stamp(model, report)
    content = model.SerializeToString()
    del model  # VGG16's is 0.5 GB, and compiling needs memory
    note = loading_note(content)
    try:
        files = _write(job, precision, content, report, targets)
        line = files_line(files)
        size = files[1 if len(files) > 1 else 0].stat().st_size
    except OSError as error:  # the disk is full, the folder has gone
        raise MerError(f"cannot write into {targets.folder}: {error.strerror or error}") from error
    job.say(line)
    if note:
        job.say(f"  {note}")
    if job.plan.triton and (len(files) > 1 or job.plan.form == "onnx"):
        served = open_artifact(str(files[1 if len(files) > 1 else 0]))
        models = write_repository(job.plan.triton, served, job.plan.engine.batches[1:])
        job.say(f"  Triton: {', '.join(map(str, models))}")
    return Exported(artifact.name, precision, checks, files, size, time.perf_counter() - began)


def _converted(job: Job, precision: Precision) -> ModelProto:
    plan = job.plan
    ranges = (
        job.calibration.ranges if precision == "int8" else {}
    )  # before the model is loaded: VGG16's is 0.5 GB
    model = job.source.model()
    if precision == "fp16":
        check_dense(model)
        model = fp16_from_onnx(model, [*plan.keep, *plan.keep_fp32])
    elif precision == "int8":
        model = int8_from_onnx(model, ranges, plan.keep, plan.keep_fp32)
    if precision != "fp32" and not any(precision in precision_by_op(model).get(op, {}) for op in _LAYERS):
        if not (plan.keep or plan.keep_fp32):
            raise UsageError(f"the network has no layer that {precision} makes faster: use --fp32")
        raise UsageError(
            f"with these layers kept none is left in {precision}: it would be {precision} by name only"
        )
    if plan.form == "engine" and plan.engine.gpu == "turing":
        _check_turing(model)
    return model


def _check_turing(model: ModelProto) -> None:
    """Raises UsageError for what its kernels in TensorRT for RTX lack; its convolutions may be FP32."""
    products = fp32_products(precision_by_op(model))
    if products:
        raise UsageError(
            f"no {products[0]} in FP32 can be compiled for turing: use --fp16, and keep none in FP32"
        )


def _report(job: Job, precision: Precision, model: ModelProto, checks: Checks) -> dict[str, Any]:
    calibration = None
    if job.calibration_set and precision == "int8":
        calibration = job.calibration_set.facts_of(job.calibration)
    kept = {"one step up": list(job.plan.keep), "fp32": list(job.plan.keep_fp32)}
    return report_of(job.source, precision, model, checks, job.eval_set, calibration, kept)


def _write(
    job: Job, precision: Precision, content: bytes, report: dict[str, Any], targets: Targets
) -> tuple[Path, ...]:
    """Writes the graph and, with a builder, the engine that it compiles and the sidecar."""
    plan, artifact = job.plan, job.source.whole
    with staging(targets.folder) as folder:
        (folder / targets.onnx).write_bytes(content)
        names = [targets.onnx]
        if plan.form == "engine" and plan.builder is not None:
            engine = engine_from_onnx(_for_gpu(content, job), plan.engine, plan.builder)
            (folder / targets.engine).write_bytes(engine.content)
            if note := int8_note(engine, precision):
                job.say(f"  INT8: {note}")
            sidecar = sidecar_of(report, targets, content, engine, artifact)
            names += [targets.engine, targets.sidecar]
            # Written twice: opening the engine for the comparison needs its sidecar.
            (folder / targets.sidecar).write_text(json_from_value(sidecar, indent=1))
            sidecar["engine_parity"] = _engine_parity(job, folder / targets.engine, precision)
            (folder / targets.sidecar).write_text(json_from_value(sidecar, indent=1))
        # The sidecar goes last: an engine beside an older sidecar does not match its hash and is refused.
        publish(folder, targets.folder, names)
    return tuple(targets.folder / name for name in names)


def _for_gpu(content: bytes, job: Job) -> bytes:
    """The graph to compile for the family of cards.

    Raises:
        GateError: it is not what was written.
    """
    if job.plan.engine.gpu != "turing" or not job.source.evidence:
        return content
    graph = products_as_sums(onnx.load_from_string(content)).SerializeToString()
    check_evidence(content, graph, job.eval_set.songs.spread(_EVIDENCE_WINDOWS))
    return graph


def _engine_parity(job: Job, engine: Path, precision: Precision) -> dict[str, Any]:
    """The engine's own logits against the FP32 graph's, if a GPU and a runtime for it are here.

    Raises:
        MerError: it fits this machine and cannot be loaded, or its logits differ too much.
    """
    if gpu_capability() is None:
        return {"checked": False, "why": "no GPU on the machine that compiled it"}
    songs, artifact = job.eval_set.songs, open_artifact(str(engine))
    least, best, _ = job.plan.engine.batches
    if least > 1:
        return {"checked": False, "why": "the least batch is above 1"}
    try:
        runtime = open_runtime(artifact)
    except EngineLoadError as error:
        raise MerError(f"the engine was compiled, but cannot be used, and is not kept: {error}") from None
    except DeviceError as error:  # compiled for another GPU than this machine's, or a package is missing
        return {"checked": False, "why": str(error)}
    with runtime:
        labels = len(artifact.spec.labels)
        logits = logits_by_batch(lambda images: runtime.infer(images)[:, :labels], songs.log_mels, best)
    measured = parity(job.reference, logits, songs, artifact.spec.temperature)
    check_parity(measured, precision)
    return {"checked": True, **asdict(measured)}


def _stamp(model: ModelProto, report: dict[str, Any]) -> None:
    """Adds the report to metadata_props, beside the ModelSpec and everything else that is there."""
    texts = {prop.key: prop.value for prop in model.metadata_props}
    onnx.helper.set_model_props(model, {**texts, EXPORT_KEY: json_from_value(report, sort_keys=True)})
