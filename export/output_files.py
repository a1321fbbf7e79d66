"""Where an export's files go. They get there by ``files.publish``, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..engine.errors import MerError, UsageError

Precision = Literal["fp32", "fp16", "int8"]
Format = Literal["engine", "onnx"]


@dataclass(frozen=True)
class Targets:
    """One export's files, all in ``folder``."""

    folder: Path
    onnx: str
    engine: str
    sidecar: str


def check_out(out: str, exports: int, form: Format) -> None:
    """Refuses, before any work, an ``-o`` that cannot be written or fits only one of several exports.

    Raises:
        UsageError: one file name for several exports, or of the wrong kind.
        MerError: the folder cannot be made or written.
    """
    if not is_folder(out):
        if exports > 1:
            raise UsageError(
                f"-o {out} names one file, but {exports} exports are asked for; give a folder: {out}/"
            )
        suffix = Path(out).suffix
        if form == "onnx" and suffix != ".onnx":
            raise UsageError(f"-o {out} must end in .onnx (or in / for a folder)")
        if form == "engine" and suffix in ("", ".onnx", ".json"):
            raise UsageError(f"-o {out} must name an .engine file, or end in / for a folder")
    folder = Path(out) if is_folder(out) else Path(out).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise MerError(f"cannot write into {folder}: {error.strerror}") from None


def is_folder(out: str) -> bool:
    """What exists as a folder or ends in a slash is one."""
    return out.endswith(("/", os.sep)) or os.path.isdir(out)


def targets_of(out: str, name: str, precision: Precision, gpu: str | None) -> Targets:
    """``mobilenetv3_fp16.onnx``, ``mobilenetv3_ada_fp16.engine`` and ``.json``, or as ``-o`` names them."""
    if is_folder(out):
        built = f"{name}_{gpu}_{precision}" if gpu else f"{name}_{precision}"
        return Targets(Path(out), f"{name}_{precision}.onnx", f"{built}.engine", f"{built}.json")
    path = Path(out)
    onnx = path.name if path.suffix == ".onnx" else f"{path.stem}.onnx"
    return Targets(path.parent, onnx, path.name, f"{path.stem}.json")
