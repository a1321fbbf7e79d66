"""Which rows the table has: every artifact there is, with every runtime that could run it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import onnx

from ...engine.artifact import Artifact, is_engine, known_models, models_home, open_artifact
from ...engine.backbone_names import BACKBONES, NETWORKS, did_you_mean
from ...engine.errors import MerError, UsageError
from ...engine.strict_json import json_from_text
from ...export.output_files import Precision
from ...export.source import EXPORT_KEY
from ..row import BASELINES, BENCH_RUNTIMES
from .machine import why_no_bf16
from .untrained import untrained_models

_PRECISIONS = get_args(Precision)
_PACKAGES = {
    "onnxruntime_rtx": ("onnxruntime_ep_nv_tensorrt_rtx",),
    "openvino": ("openvino",),
    "tensorrt": ("tensorrt", "tensorrt_rtx"),
    "torch": ("torchvision",),
    "torch.compile": ("torchvision",),
}
"""Of a runtime one of these must be installed."""


@dataclass(frozen=True)
class Case:
    """One row to be measured.

    Attributes:
        model: its name in the table: the file's without its suffix, with its folder where that clashes.
        path: the artifact, an .onnx or .engine file.
        source: where it was: "bundled", "home" (``models_home()``), "folder", "untrained" or "compare".
        runtime: one of ``BENCH_RUNTIMES``, or "-" where the artifact cannot be opened.
        precision: "fp32", "fp16", "bf16", "int8", or "-" where it is not known.
        reason: why it cannot be measured; None where it can.
    """

    model: str
    path: Path
    source: str
    runtime: str
    precision: str
    reason: str | None = None


def find_cases(
    folders: Sequence[Path],
    untrained: bool,
    runtimes: Sequence[str] = BENCH_RUNTIMES,
    only: Sequence[str] = (),
    quick: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> list[Case]:
    """Cases of the bundled artifacts, of those in ``models_home()`` and of those in and below ``folders``.

    A case is named by its file; where files in several folders have one name, those of ``folders`` are named
    with their folder.

    Args:
        untrained: the nine CNNs with random weights too.
        only: models (names of cases, of files without their suffix, or of backbones); all by default. With
            ``folders`` a name must mean networks of one place: "bundled/NAME" means the bundled one.
        quick: what takes long to start is skipped.

    Raises:
        UsageError: no such folder; or a name in ``only`` that is unknown or means several networks.
    """
    files = list(_files(folders, untrained, only, say))
    names = _names(files, folders)
    meant = {path for name in only for path in _meant(name, files, names, folders)}
    chosen = [(path, source) for path, source in files if not only or path in meant]
    return [case for path, source in chosen for case in _cases_of(names[path], path, source, runtimes, quick)]


def _names(files: Sequence[tuple[Path, str]], folders: Sequence[Path]) -> dict[Path, str]:
    """A name for each file: its stem where one folder alone has it, else as much of its path as it takes."""
    places: dict[str, set[Path]] = {}
    for path, _ in files:
        places.setdefault(path.stem, set()).add(path.parent)
    names = {path: path.stem for path, _ in files}
    clashing = [path for path, source in files if source == "folder" and len(places[path.stem]) > 1]
    below = {path: _below(path, folders) for path in clashing}
    for path in clashing:
        same = {other.parent for other in clashing if below[other] == below[path]}
        names[path] = below[path] if len(same) == 1 else str(path.with_suffix(""))
    return names


def _below(path: Path, folders: Sequence[Path]) -> str:
    """A file's path below the folder that it was found in, without its suffix."""
    folder = next(folder for folder in folders if path.is_relative_to(folder))
    inside = path.relative_to(folder).with_suffix("")
    return inside.as_posix() if len(inside.parts) > 1 else f"{folder.resolve().name}/{inside}"


def _meant(
    name: str, files: Sequence[tuple[Path, str]], names: dict[Path, str], folders: Sequence[Path]
) -> list[Path]:
    """The files that a name means; with ``folders`` they lie in one place.

    Raises:
        UsageError: none do, or several places have such files.
    """
    exact = [path for path, source in files if name in (f"{source}/{path.stem}", str(path))]
    own = [path for path, source in files if names[path] == name and (source == "folder" or not folders)]
    # Bundled networks have names of their own: accurate is an audioset, and not the one that is meant.
    by_backbone = {path for path, source in files if source != "bundled" and _backbone_of(path) == name}
    alike = [path for path, _ in files if path.stem == name or path in by_backbone]
    if exact or ("/" in name and own):
        return exact or own
    if not alike:
        others = (_backbone_of(path) for path, source in files if source != "bundled")
        known = sorted({*names.values(), *others}) or ["none"]
        raise UsageError(f"unknown model {name}; there are: {', '.join(known)}{did_you_mean(name, known)}")
    if not folders:
        return alike
    sources = dict(files)
    called = {
        path: names[path] if sources[path] == "folder" else f"{sources[path]}/{path.stem}" for path in alike
    }
    if len({path.parent for path in alike}) > 1:
        raise UsageError(f"{name} may be {', '.join(dict.fromkeys(called.values()))}: name one of them")
    if all(sources[path] != "folder" for path in alike):
        places = ", ".join(map(str, folders))
        raise UsageError(
            f"no {name} in {places}; name {', '.join(dict.fromkeys(called.values()))} for that one"
        )
    return alike


def precision_of(content: bytes) -> str:
    """The precision of an .onnx by its graph, whatever its name or what was written into it says."""
    model = onnx.load_from_string(content)
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        return "int8"
    stored = {node.input[0] for node in model.graph.node if node.op_type == "Cast"}  # and computed in FP32
    kinds = {tensor.data_type for tensor in model.graph.initializer if tensor.name not in stored}
    return "fp16" if onnx.TensorProto.FLOAT16 in kinds else "fp32"


def fp32_of(content: bytes) -> str | None:
    """SHA-256 of the FP32 model that mer-export made an .onnx from; None if it was not exported."""
    source = _export_report(onnx.load_from_string(content)).get("source")
    sha256 = source.get("sha256") if isinstance(source, dict) else None
    return sha256 if isinstance(sha256, str) else None


def _export_report(model: onnx.ModelProto) -> dict[str, Any]:
    """What mer-export wrote into a graph; empty where that is nothing, or someone else's text."""
    for prop in model.metadata_props:
        if prop.key == EXPORT_KEY:
            with suppress(ValueError):
                report = json_from_text(prop.value)
                return report if isinstance(report, dict) else {}
    return {}


def _files(
    folders: Sequence[Path], untrained: bool, only: Sequence[str], say: Callable[[str], None]
) -> Iterator[tuple[Path, str]]:
    """Every artifact with its source, as ``Case.source``."""
    home = models_home()
    named: dict[Path, Path] = {}  # by where a file lies, whatever folder of the user's leads there
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder")
        for path in _below_folder(folder):
            named.setdefault(_place(path), path)
    engines = filter(is_engine, _artifacts(home.iterdir()) if home.is_dir() else ())
    for path in (*known_models().values(), *engines):
        if _place(path) not in named:
            yield path, "home" if path.parent == home else "bundled"
    for path in named.values():
        yield path, "folder"
    if untrained:
        asked = {name.removeprefix("untrained/").removesuffix("_int8") for name in only}
        for name in BACKBONES:
            if not only or name in asked:
                for path in untrained_models(name, say):
                    yield path, "untrained"


def _place(path: Path) -> Path:
    """Where a file lies; one that is a link is known by its own name."""
    return path.parent.resolve() / path.name


def _below_folder(folder: Path) -> list[Path]:
    """The artifacts in a folder and in those below it, in order; hidden folders and links are not entered."""
    found: list[Path] = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += _artifacts(Path(place, name) for name in files)
    return found


def _artifacts(files: Iterable[Path]) -> list[Path]:
    return sorted(path for path in files if path.suffix.lower() == ".onnx" or is_engine(path))


@cache
def _backbone_of(path: Path) -> str:
    try:
        return open_artifact(str(path)).spec.backbone
    except MerError:
        return path.stem


def _cases_of(name: str, path: Path, source: str, runtimes: Sequence[str], quick: bool) -> Iterator[Case]:
    """One artifact's cases; one that cannot be opened is a single case with the reason."""
    try:
        artifact = open_artifact(str(path))
        precision = _engine_precision(path) if is_engine(path) else precision_of(artifact.content)
    except MerError as error:
        yield Case(name, path, source, "-", "-", str(error))
        return
    for runtime in runtimes:
        unasked = (
            runtime == "onnxruntime_rtx" and len(runtimes) > 1 and not _installed(runtime)
        )  # few have it
        other = (runtime == "tensorrt") != is_engine(path)
        if unasked or other or (runtime in BASELINES and precision != "fp32"):
            continue
        yield Case(name, path, source, runtime, precision, why_not(runtime, precision, artifact, quick))
        if runtime == "openvino" and precision == "fp32":
            yield Case(name, path, source, runtime, "bf16", why_not(runtime, "bf16", artifact))


def _engine_precision(path: Path) -> str:
    try:
        precision = json_from_text(path.with_suffix(".json").read_bytes())["precision"]
    except (OSError, ValueError, KeyError, TypeError):
        return "-"
    return precision if precision in _PRECISIONS else "-"


def why_not(runtime: str, precision: str, artifact: Artifact, quick: bool = False) -> str | None:
    """Why a runtime of ``BENCH_RUNTIMES`` cannot run an artifact in a precision here; None where it can."""
    if (runtime, precision) == ("openvino", "bf16"):
        return why_no_bf16()
    if runtime in BASELINES and precision != "fp32":
        return "it computes the FP32 network"
    if not _installed(runtime):
        return f"{_PACKAGES[runtime][0]} is not installed"
    if runtime in BASELINES and artifact.spec.backbone not in NETWORKS:
        return f"no backbone {artifact.spec.backbone} to rebuild"
    if runtime in BASELINES and "frozen" in artifact.spec.provenance:
        return "a frozen network with a head is none that torch has"
    if runtime == "torch.compile" and quick:
        return "compiling takes a minute or more: left out by --quick"
    return None


def _installed(runtime: str) -> bool:
    return runtime not in _PACKAGES or any(map(find_spec, _PACKAGES[runtime]))
