"""Names and folder of an export's files, and what they must not replace.

``files.publish`` puts the files there, whole or not at all.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..engine.artifact import ENGINE_SUFFIXES, SPEC_KEY, is_engine
from ..engine.audio.formats import AUDIO_SUFFIXES, is_remote
from ..engine.data.cleaning import quoted_label
from ..engine.errors import MerError, SpecError, UsageError
from ..engine.spec import ModelSpec
from ..engine.strict_json import LONGEST, json_from_text
from ..engine.text.escape import storable
from .foreign import metadata_of
from .source import is_exported_graph

Precision = Literal["fp32", "fp16", "int8"]
Format = Literal["engine", "onnx"]

# TensorRT may take any file for an empty timing cache, which would then replace it.
_OF_OTHER_FILES = {*ENGINE_SUFFIXES, ".onnx", ".json", ".safetensors", ".npz", ".csv", *AUDIO_SUFFIXES}


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
        UsageError: a URL, one file name for several exports, or a name with the wrong suffix.
        MerError: the folder cannot be created or written into.
    """
    if is_remote(out):
        raise UsageError(f"{out} names no place on this machine: export into a folder and copy the files")
    if not is_folder(out):
        if exports > 1:
            raise UsageError(
                f"{out} names one file, but {exports} exports are asked for; give a folder: {out}/"
            )
        if form == "onnx" and Path(out).suffix != ".onnx":
            raise UsageError(f"{out!r} must end in .onnx (or in / for a folder)")
        if form == "engine" and not is_engine(Path(out)):
            raise UsageError(f"{out!r} must end in {', '.join(ENGINE_SUFFIXES)} (or in / for a folder)")
    check_writable(Path(out) if is_folder(out) else Path(out).parent)


def check_writable(folder: Path) -> None:
    """Makes a folder, if it is not there.

    Raises:
        MerError: it cannot be created or written into.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise MerError(f"cannot write into {folder}: {error.strerror}") from None


def check_targets(targets: Targets, form: Format, inputs: Iterable[Path]) -> None:
    """Refuses, before any work, to replace an input, or a file that no export wrote.

    Args:
        inputs: the files that the run reads: sources, data, caches. They may not be there yet.

    Raises:
        UsageError: a file would be replaced that must stay.
        MerError: the name cannot be a file's.
    """
    names = [targets.onnx] if form == "onnx" else [targets.onnx, targets.engine, targets.sidecar]
    sources = list(inputs)
    for name in names:
        path = targets.folder / name
        for source in sources:
            if _is_same(path, source):
                raise UsageError(f"{path} would replace {source}, which is read: choose another name")
        if _exists(path) and not _is_export(path, targets):
            raise UsageError(f"{path} is there, and no export of this name wrote it: move it away")


def check_network(targets: Targets, form: Format, spec: ModelSpec) -> None:
    """Refuses to replace an export of another network.

    Raises:
        UsageError: the labels or the backbone of an export that is there differ.
    """
    before = {targets.onnx: metadata_of(targets.folder / targets.onnx).get(SPEC_KEY, "")}
    if form == "engine":
        facts = _sidecar(targets.folder / targets.sidecar)
        before[targets.engine] = json.dumps(facts.get("model_spec"))
    for name, text in before.items():
        check_same_network(targets.folder / name, text, spec)


def check_same_network(path: Path, text: str, spec: ModelSpec) -> None:
    """Refuses to replace a file whose ModelSpec is of another network; a text that is no ModelSpec is not.

    Raises:
        UsageError: its labels or its backbone differ.
    """
    with suppress(SpecError):
        other = ModelSpec.from_json(text)
        if (other.labels, other.backbone) != (spec.labels, spec.backbone):
            raise UsageError(
                f"{path} is there, and is of another network ({other.backbone}: "
                f"{', '.join(map(quoted_label, other.labels))}): choose another place with --out, or move it "
                "away"
            )


def check_timing_cache(path: Path, inputs: Iterable[Path]) -> None:
    """Refuses, before any work, a timing cache that cannot be written, or would replace what is read.

    Raises:
        UsageError: it is an input, or no regular file.
        MerError: there is no such folder.
    """
    for source in inputs:
        if _is_same(path, source):
            raise UsageError(f"the timing cache {path} would replace {source}, which is read")
    if _exists(path) and (not path.is_file() or path.suffix.lower() in _OF_OTHER_FILES):
        raise UsageError(f"{path} is no timing cache")
    if not path.parent.is_dir():
        raise MerError(f"the timing cache {path} cannot be written: there is no folder {path.parent}")


def without_dots(out: str) -> str:
    """The same place without ``..`` in its folders: one that is stepped out of would be made for that."""
    folder, name = os.path.split(out)
    return os.path.join(os.path.realpath(folder), name) if ".." in Path(folder).parts else out


def is_folder(out: str) -> bool:
    """A path is a folder if it exists as one or ends in a slash."""
    return out.endswith(("/", os.sep)) or os.path.isdir(out)


def targets_of(out: str, name: str, precision: Precision, gpu: str | None) -> Targets:
    """Names such as ``mobilenetv3_ada_fp16.engine`` in a folder, or those that ``out`` gives.

    The graph of ``net.engine`` is ``net_fp16.onnx``: ``net.onnx`` is most often its source.
    """
    if is_folder(out):
        engine = f"{name}_{gpu}_{precision}" if gpu else f"{name}_{precision}"
        return Targets(Path(out), f"{name}_{precision}.onnx", f"{engine}.engine", f"{engine}.json")
    path = Path(out)
    graph = path.stem.removesuffix(f"_{precision}") + f"_{precision}.onnx"
    onnx = path.name if path.suffix == ".onnx" else graph
    return Targets(path.parent, onnx, path.name, f"{path.stem}.json")


def _is_same(path: Path, other: Path) -> bool:
    """Whether two names are of one file, also through links of both kinds; it may not be there yet."""
    try:
        return os.path.samefile(path, other)
    except OSError:
        return os.path.realpath(path) == os.path.realpath(other)


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise MerError(f"cannot write {path}: {error.strerror}") from None
    return True


def _is_export(path: Path, targets: Targets) -> bool:
    """Whether an export wrote this file: a graph says it itself, an engine's sidecar says it of both."""
    if not path.is_file():
        return False
    if path.suffix == ".onnx":
        return is_exported_graph(path)
    engine = _sidecar(targets.folder / targets.sidecar).get("engine")
    name = engine.get("file") if isinstance(engine, dict) else None
    if not isinstance(name, str):
        return False
    # A sidecar may be of another engine, net.plan beside net.engine; renamed ones have left it.
    return name == storable(targets.engine) or Path(name).name not in map(
        storable, os.listdir(targets.folder)
    )


def _sidecar(path: Path) -> dict[str, Any]:
    """The facts in a sidecar; empty where it is none."""
    try:
        content = path.read_bytes() if path.is_file() and path.stat().st_size <= LONGEST else b""
        facts = json_from_text(content)
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}
