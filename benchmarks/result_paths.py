"""Where results may be written: asked before the measurement, which takes long and must not be lost."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryFile

from ..engine.artifact import ENGINE_SUFFIXES
from ..engine.audio.formats import AUDIO_SUFFIXES
from ..engine.errors import UsageError
from ..engine.files import check_can_be_written

_NEVER_RESULTS = {*ENGINE_SUFFIXES, ".onnx", ".safetensors", ".pt", ".pth", ".npz", *AUDIO_SUFFIXES}
_OWN = {".json", ".html", ".png", ".md"}
"""Of results in a folder of inputs, which a second run replaces. Not .csv, as clips.csv has it."""


def check_result_paths(files: Sequence[Path], inputs: Iterable[Path | None] = ()) -> None:
    """Refuses what could not be written, and what would replace a file that is no result.

    Args:
        inputs: files and folders that the run reads; None is none.

    Raises:
        UsageError: a folder that is not there or takes no files, a file that is one, one name for two files,
            an input, a file in a folder of inputs that looks like no result, a model or its sidecar, or
            sound.
    """
    read = [path for path in inputs if path is not None]
    for file in files:
        check_can_be_written(file)
        if file.exists() and (what := _what_it_is(file, read)):
            raise UsageError(f"{file} is {what}; name another file")
    if len({file.resolve() for file in files}) < len(files):
        raise UsageError("two outputs have the same name")


def make_folder(option: str, folder: Path) -> None:
    """Makes the folder that an option or a variable names, unless it is there.

    Raises:
        UsageError: it cannot be made, or takes no files.
    """
    what = "folder can be made"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        what = "file can be written"
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"{option} {folder}: no {what} there: {error.strerror}; name another") from None


def _what_it_is(file: Path, inputs: Iterable[Path]) -> str | None:
    """Why a file that is there must stay; None where it may be replaced."""
    path = file.resolve()
    for source in inputs:
        if source.exists() and os.path.samefile(file, source):
            return "what the run reads"
        inside = source.is_dir() and path.is_relative_to(source.resolve())
        if inside and path.suffix.lower() not in _OWN:
            return f"in {source}, which the run reads"
    if path.suffix.lower() in _NEVER_RESULTS:
        return "there, and no result"
    if any(path.with_suffix(suffix).exists() for suffix in ENGINE_SUFFIXES):
        return "the sidecar of an engine"
    return None
