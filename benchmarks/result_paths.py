"""Where results may be written: asked before the measurement, which takes long and must not be lost."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..engine.artifact import ENGINE_SUFFIXES
from ..engine.audio.formats import AUDIO_SUFFIXES
from ..engine.errors import UsageError

_NEVER_RESULTS = {*ENGINE_SUFFIXES, ".onnx", ".safetensors", ".pt", ".pth", ".npz", *AUDIO_SUFFIXES}


def check_result_paths(files: Sequence[Path], inputs: Iterable[Path | None] = ()) -> None:
    """Refuses what could not be written, and what would replace a file that is no result.

    Args:
        inputs: files and folders that the run reads; None is none.

    Raises:
        UsageError: a folder that is not there, a file that is one, one name for two files, an input, a file
            in a folder of inputs, a model or its sidecar, or sound.
    """
    read = [path for path in inputs if path is not None]
    for file in files:
        if not file.parent.is_dir():
            raise UsageError(f"{file}: there is no folder {file.parent}")
        if file.is_dir():
            raise UsageError(f"{file} is a folder; name a file")
        if file.exists() and (what := _what_it_is(file, read)):
            raise UsageError(f"{file} is {what}; name another file")
    if len({file.resolve() for file in files}) < len(files):
        raise UsageError("two outputs have the same name")


def _what_it_is(file: Path, inputs: Iterable[Path]) -> str | None:
    """Why a file that is there must stay; None where it may be replaced."""
    path = file.resolve()
    for source in inputs:
        if source.exists() and os.path.samefile(file, source):
            return "what the run reads"
        if source.is_dir() and path.is_relative_to(source.resolve()):
            return f"in {source}, which the run reads"
    if path.suffix.lower() in _NEVER_RESULTS:
        return "there, and no result"
    if any(path.with_suffix(suffix).exists() for suffix in ENGINE_SUFFIXES):
        return "the sidecar of an engine"
    return None
