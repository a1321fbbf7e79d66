"""An export's findings as plain JSON values and as lines for people."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata
from pathlib import Path
from typing import Any

from onnx import ModelProto

from ..engine.artifact import Artifact
from .checks import FP16_WARN, Accuracy, Checks, Fp16Range, Parity
from .engine_builder import Engine
from .eval_set import Evidence
from .output_files import Precision, Targets
from .precision import precision_by_op

SIDECAR_FORMAT = 1


def report_of(
    artifact: Artifact,
    evidence: Evidence,
    precision: Precision,
    checks: Checks,
    model: ModelProto,
    kept: dict[str, list[str]],
) -> dict[str, Any]:
    """What travels in the exported .onnx, and in the sidecar too."""
    found = checks.parity or checks.torch
    seen = None if found is None else {"images": evidence.kind, "of": evidence.origin, **found.to_json()}
    return {
        "mer": _version(),
        "precision": precision,
        "source": {"model": artifact.path.name, "sha256": artifact.sha256},
        "precision_by_op": precision_by_op(model),
        "kept": kept,
        "calibration": evidence.calibration_facts if precision == "int8" else None,
        "parity": seen,
        "parity_reference": "FP32 ONNX on ONNX Runtime's CPU" if checks.parity else "PyTorch",
        "fp16_range": checks.range.to_json() if checks.range else None,
        "torch_parity": checks.torch.to_json() if checks.torch else None,
        "accuracy": {"of": evidence.origin, **checks.accuracy.to_json()} if checks.accuracy else None,
    }


def sidecar_of(
    report: dict[str, Any], targets: Targets, content: bytes, engine: Engine, artifact: Artifact
) -> dict[str, Any]:
    """What a runtime must know of an engine, and what was measured of it."""
    return {
        "format": SIDECAR_FORMAT,
        "name": Path(targets.engine).stem,
        **report,
        **engine.facts,
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


def torch_line(found: Parity) -> str:
    """The FP32 graph against PyTorch."""
    return (
        f"  FP32 ONNX against PyTorch: max error {found.max_error:.2g} at batches {', '.join(found.by_batch)}"
    )


def parity_line(found: Parity, evidence: Evidence) -> str:
    """A converted graph against the FP32 one."""
    return (
        f"  against FP32 on {found.windows} windows of {evidence.short}: max error {found.max_error:.3g} "
        f"({found.relative_error:.2%} of the largest logit), top-1 agreement {found.agreement:.1%}, "
        f"{found.flips} of {found.songs} labels flip"
    )


def range_line(found: Fp16Range) -> str:
    """FP16's range, with a warning where it is nearly used up."""
    if not found.peaks:
        return "  no FP16 node"
    name, peak = found.peaks[0]
    line = (
        f"  FP16 range: the largest value is {peak:,.0f} of 65,504, at {name}, over {found.windows} windows "
        "(read from every FP16 node; agreement on a CPU covers rounding only)"
    )
    if found.near:
        line += f"\n  warning: over {FP16_WARN:,.0f}, half of FP16's range: {', '.join(found.near[:5])}"
    return line


def accuracy_line(found: Accuracy, precision: Precision) -> str:
    """Macro-F1 before and after."""
    if precision == "fp32":
        return f"  macro-F1 {found.macro_f1:.1f}% over {found.songs} songs"
    change = f"{found.macro_f1_fp32:.1f}% -> {found.macro_f1:.1f}%, drop {found.drop:.1f}"
    return f"  macro-F1 over {found.songs} songs: {change} points"


def files_line(files: tuple[Path, ...]) -> str:
    """What was written, with sizes."""
    return "  " + ", ".join(
        f"{path} ({path.stat().st_size / 1e6:.1f} MB)" for path in files if path.suffix != ".json"
    )


def _version() -> str:
    try:
        return metadata.version("merkit")
    except metadata.PackageNotFoundError:  # a checkout that was not installed
        return "unknown"
