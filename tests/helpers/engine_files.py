"""Engines with sidecars as mer-export writes them, but an ONNX file inside, which the fake TensorRT loads."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from merkit.engine.artifact import Artifact, open_artifact
from merkit.engine.spec import ModelSpec
from onnx_files import tiny_onnx

VERSION = "11.4.0.106"


def sidecar_of(spec: ModelSpec, content: bytes, name: str = "tiny", **changes: Any) -> dict[str, Any]:
    window = [1, spec.audio.n_mels, spec.audio.frames]
    return {
        "format": 1,
        "name": name,
        "precision": "fp16",
        "source": {"model": "tiny.onnx", "sha256": "0" * 64},
        "builder": "tensorrt",
        "builder_version": VERSION,
        "cuda": "13",
        "compute_capability": {"target": "this GPU", "capabilities": ["8.9"]},
        "profiles": {"images": {"min": [1, *window], "opt": [8, *window], "max": [32, *window]}},
        "options": {"hardware_compatible": False, "version_compatible": False},
        "engine": {"file": f"{name}.engine", "sha256": hashlib.sha256(content).hexdigest()},
        "model_spec": json.loads(spec.to_json()),
        **changes,
    }


def write_engine(folder: Path, spec: ModelSpec, content: bytes | None = None, **changes: Any) -> Path:
    """``tiny.engine`` and ``tiny.json``; ``changes`` replace facts of the sidecar."""
    content = tiny_onnx(spec).SerializeToString() if content is None else content
    path = folder / "tiny.engine"
    path.write_bytes(content)
    path.with_suffix(".json").write_text(json.dumps(sidecar_of(spec, content, **changes)))
    return path


def engine(folder: Path, spec: ModelSpec, content: bytes | None = None, **changes: Any) -> Artifact:
    return open_artifact(str(write_engine(folder, spec, content, **changes)))
