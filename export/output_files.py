"""Names and folder of an export's files. ``files.publish`` puts them there, whole or not at all."""

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
    """Refuses, before any work, an output that cannot be written or that fits only one of several exports.

    Args:
        out: a folder (see ``is_folder``), or the file name of the one export.
        exports: how many will be written.

    Raises:
        UsageError: one file name for several exports, or a name with the wrong suffix.
        MerError: the folder cannot be created or written into.
    """
    if not is_folder(out):
        if exports > 1:
            raise UsageError(
                f"{out} names one file, but {exports} exports are asked for; give a folder: {out}/"
            )
        suffix = Path(out).suffix
        if form == "onnx" and suffix != ".onnx":
            raise UsageError(f"{out} must end in .onnx (or in / for a folder)")
        if form == "engine" and suffix in ("", ".onnx", ".json"):
            raise UsageError(f"{out} must name an .engine file, or end in / for a folder")
    folder = Path(out) if is_folder(out) else Path(out).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise MerError(f"cannot write into {folder}: {error.strerror}") from None


def is_folder(out: str) -> bool:
    """A path is a folder if it exists as one or ends in a slash."""
    return out.endswith(("/", os.sep)) or os.path.isdir(out)


def targets_of(out: str, name: str, precision: Precision, gpu: str | None) -> Targets:
    """Names such as ``mobilenetv3_ada_fp16.engine`` in a folder, or those that ``out`` gives."""
    if is_folder(out):
        engine = f"{name}_{gpu}_{precision}" if gpu else f"{name}_{precision}"
        return Targets(Path(out), f"{name}_{precision}.onnx", f"{engine}.engine", f"{engine}.json")
    path = Path(out)
    onnx = path.name if path.suffix == ".onnx" else f"{path.stem}.onnx"
    return Targets(path.parent, onnx, path.name, f"{path.stem}.json")
