"""The results of an export as plain JSON values and as lines for people."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import merkit
from onnx import ModelProto

from ..engine.artifact import Artifact, known_models
from ..engine.runtimes.onnxruntime import passes_to_leave_out
from .checks import Accuracy, Parity
from .engine_builder import Engine
from .eval_set import EvalSet
from .fp16_range import FP16_WARN, Fp16Range
from .output_files import Precision, Targets
from .precision import precision_by_op
from .source import Source

_SIDECAR_FORMAT = 1


@dataclass(frozen=True)
class Checks:
    """Everything that was measured of one graph; ``torch`` is the FP32 graph against the checkpoint."""

    parity: Parity | None = None
    range: Fp16Range | None = None
    accuracy: Accuracy | None = None
    torch: Parity | None = None


def report_of(
    source: Source,
    precision: Precision,
    model: ModelProto,
    checks: Checks,
    eval_set: EvalSet,
    calibration: dict[str, Any] | None,
    kept: dict[str, list[str]],
) -> dict[str, Any]:
    """What travels in the exported .onnx, and in the sidecar too.

    Args:
        source: in FP32.
        model: the exported graph.
        calibration: the facts of the CalibrationSet; None where nothing was calibrated.
        kept: the layers one precision up, and those in FP32.
    """
    parity, artifact = checks.parity or checks.torch, source.artifact
    return {
        "mer": merkit.__version__,
        "precision": precision,
        "source": {
            "model": _named(artifact),
            "sha256": artifact.sha256,
            "file_sha256": source.file_sha256 or artifact.sha256,
            **({"given": dict(source.given)} if source.given else {}),
        },
        "precision_by_op": precision_by_op(model),
        "kept": kept,
        "calibration": calibration,
        "parity": {"images": eval_set.kind, "of": eval_set.origin, **asdict(parity)} if parity else None,
        "parity_reference": _reference(checks),
        "fp16_range": checks.range.to_json() if checks.range else None,
        "torch_parity": asdict(checks.torch) if checks.torch else None,
        "accuracy": _accuracy(checks.accuracy, eval_set, claimed=True),
        "on_trained_clips": _accuracy(checks.accuracy, eval_set, claimed=False),
        "skipped": [[path.name, reason] for path, reason in eval_set.songs.failed],
    }


def _reference(checks: Checks) -> str | None:
    """What the report's parity is against; None of an .onnx in FP32, which is its own reference."""
    if checks.parity:
        return "FP32 ONNX on ONNX Runtime's CPU"
    return "PyTorch" if checks.torch else None


def _named(artifact: Artifact) -> str:
    """What mer-export calls it: a known model has no suffix there."""
    return artifact.name if artifact.path in known_models().values() else artifact.path.name


def _accuracy(accuracy: Accuracy | None, eval_set: EvalSet, claimed: bool) -> dict[str, Any] | None:
    """None where nothing was scored, or on songs of the other kind."""
    if accuracy is None or accuracy.claimed != claimed:
        return None
    return {"of": eval_set.origin, "labels": list(eval_set.labels), **accuracy.to_json()}


def sidecar_of(
    report: dict[str, Any], targets: Targets, content: bytes, engine: Engine, artifact: Artifact
) -> dict[str, Any]:
    """What a runtime must know of an engine, and what was measured of it. ``content`` is its .onnx."""
    return {
        "format": _SIDECAR_FORMAT,
        "name": Path(targets.engine).stem,
        **report,
        **engine.facts,
        **({"int8": note} if (note := int8_note(engine, report["precision"])) else {}),
        "onnx": {"file": targets.onnx, "sha256": hashlib.sha256(content).hexdigest()},
        "engine": {
            "file": targets.engine,
            "sha256": hashlib.sha256(engine.content).hexdigest(),
            "bytes": len(engine.content),
        },
        "input": "images",
        "output": "logits",
        "model_spec": json.loads(artifact.spec.to_json()),
    }


def int8_note(engine: Engine, precision: Precision) -> str:
    """What is not known of an INT8 engine's speed; empty for others."""
    if precision != "int8" or engine.facts["builder"] != "tensorrt_rtx":
        return ""
    return (
        "not measured; may run in FP16: of INT8 NVIDIA lists for TensorRT for RTX matrix products with INT8 "
        "weights alone, no convolutions"
    )


def torch_line(parity: Parity) -> str:
    """The FP32 graph against PyTorch."""
    batches = ", ".join(parity.by_batch)
    return f"  FP32 ONNX against PyTorch: max error {parity.max_error:.2g} at batches {batches}"


def parity_line(parity: Parity, eval_set: EvalSet) -> str:
    """A converted graph against the FP32 one."""
    return (
        f"  against FP32 on {parity.windows} windows of {eval_set.short}: max error {parity.max_error:.3g} "
        f"({parity.relative_error:.2%} of the largest logit), top-1 agreement {parity.agreement:.1%}, "
        f"{parity.flips} of {parity.songs} labels flip"
    )


def range_line(fp16: Fp16Range) -> str:
    """FP16's range, with a warning if more than half of it is used."""
    if not fp16.peaks:
        return "  no FP16 node"
    name, peak = fp16.peaks[0]
    line = (
        f"  FP16 range: the largest value is {peak:,.0f} of 65,504, at {name}, over {fp16.windows} windows "
        "(read from every FP16 node; agreement on a CPU covers rounding only)"
    )
    if fp16.near:
        line += f"\n  warning: over {FP16_WARN:,.0f}, half of FP16's range: {', '.join(fp16.near[:5])}"
    return line


def accuracy_line(accuracy: Accuracy, precision: Precision) -> str:
    """Macro-F1 in percent, before and after, and the drop in points with its interval.

    Only the drop, and how many songs get another label, where no accuracy is claimed.
    """
    interval = ""
    if accuracy.drop_interval:
        interval = " (95 %: {:.1f} to {:.1f})".format(*(100 * end for end in accuracy.drop_interval))
    if not accuracy.claimed:
        line = f"  {accuracy.songs} songs, on clips it was trained on: no accuracy is claimed"
        if precision == "fp32":
            return line
        interval = interval or " (too few songs for an interval)"
        return (
            f"{line}; {accuracy.flips} labels flip, macro-F1 drop {100 * accuracy.drop:.1f} points{interval}"
        )
    after = f"{100 * accuracy.macro_f1:.1f}%"
    if precision == "fp32":
        return f"  macro-F1 {after} over {accuracy.songs} songs"
    change = f"{100 * accuracy.macro_f1_fp32:.1f}% -> {after}, drop {100 * accuracy.drop:.1f}"
    return f"  macro-F1 over {accuracy.songs} songs: {change} points{interval}"


def loading_note(content: bytes) -> str:
    """How other programs must load a graph that may crash ONNX Runtime at its default; empty for others."""
    passes = passes_to_leave_out(content)
    if not passes:
        return ""
    return (
        f"ONNX Runtime's {' and '.join(passes)} may crash on this graph: other programs must load it with "
        "the graph optimization level ORT_ENABLE_EXTENDED or a lower one"
    )


def files_line(files: tuple[Path, ...]) -> str:
    """The files that were written, with their sizes."""
    return "  " + ", ".join(
        f"{path} ({path.stat().st_size / 1e6:.1f} MB)" for path in files if path.suffix != ".json"
    )
