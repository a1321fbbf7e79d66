"""Which rows the table has: every artifact found, with every runtime that could run it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import onnx

from ...engine.artifact import Artifact, known_models, models_home, open_artifact
from ...engine.backbone_names import BACKBONES
from ...engine.errors import MerError, UsageError
from ...engine.files import write_whole
from ...export.source import EXPORT_KEY

RUNTIMES = ("onnxruntime", "openvino", "tensorrt", "torch", "torch.compile")
BASELINES = ("torch", "torch.compile")
_PACKAGES = {
    "openvino": ("openvino",),
    "tensorrt": ("tensorrt", "tensorrt_rtx"),
    "torch": ("torchvision",),
    "torch.compile": ("torchvision",),
}


@dataclass(frozen=True)
class Case:
    """One row to be measured. ``reason`` says why it cannot be; ``source`` where its file was found."""

    model: str
    path: Path
    source: str
    runtime: str
    precision: str
    reason: str | None = None


def find_cases(
    folders: Sequence[Path],
    untrained: bool,
    runtimes: Sequence[str] = RUNTIMES,
    only: Sequence[str] = (),
    quick: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> list[Case]:
    """Bundled artifacts, those of ``models_home()`` and of ``folders``, then perhaps the untrained nine.

    Args:
        only: models (names of files without their suffix, or of backbones); all by default.

    Raises:
        UsageError: a folder that is not there, or an unknown name in ``only``.
    """
    found: list[Case] = []
    known: set[str] = set()
    for path, source in _files(folders, untrained, only, say):
        known.update((path.stem, _backbone_of(path)))
        if not only or {path.stem, _backbone_of(path)}.intersection(only):
            found.extend(_rows_of(path, source, runtimes, quick))
    strange = [name for name in only if name not in known]
    if strange:
        raise UsageError(
            f"unknown model {', '.join(strange)}; there are: {', '.join(sorted(known)) or 'none'}"
        )
    return found


def precision_of(content: bytes) -> str:
    """What an .onnx computes in: as its export says, else as its types say."""
    model = onnx.load_from_string(content)
    for prop in model.metadata_props:
        if prop.key == EXPORT_KEY:
            return str(json.loads(prop.value).get("precision", "fp32"))
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        return "int8"
    half = any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in model.graph.initializer)
    return "fp16" if half else "fp32"


def fp32_of(content: bytes) -> str | None:
    """SHA-256 of the FP32 model that an exported .onnx was made from."""
    for prop in onnx.load_from_string(content).metadata_props:
        if prop.key == EXPORT_KEY:
            return json.loads(prop.value).get("source", {}).get("sha256")
    return None


def _files(
    folders: Sequence[Path], untrained: bool, only: Sequence[str], say: Callable[[str], None]
) -> Iterator[tuple[Path, str]]:
    home = models_home()
    for path in known_models().values():
        yield path, "home" if path.parent == home else "bundled"
    for path in sorted(home.glob("*.engine")):
        yield path, "home"
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"--models {folder}: no such folder")
        for path in sorted([*folder.glob("*.onnx"), *folder.glob("*.engine")]):
            yield path, "folder"
    if untrained:
        for name in BACKBONES:
            if not only or name in only:
                for path in untrained_models(name, say):
                    yield path, "untrained"


def untrained_models(name: str, say: Callable[[str], None]) -> tuple[Path, Path]:
    """One of the nine CNNs with random weights in FP32 and INT8, kept beside ``models_home()``.

    Raises:
        MerError: it cannot be exported; the message has the reason.
    """
    folder = models_home().parent / "untrained"
    paths = (folder / f"{name}.onnx", folder / f"{name}_int8.onnx")
    if not all(path.is_file() for path in paths):
        say(f"making {name} with random weights, once")
        folder.mkdir(parents=True, exist_ok=True)
        # In a process of its own: torch and VGG16's 540 MB must not stay in this one.
        code = f"from {__name__} import _make; import sys; _make(*sys.argv[1:])"
        command = [sys.executable, "-c", code, name, *map(str, paths)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            raise MerError(f"{name} cannot be made: {lines[-1] if lines else done.returncode}")
    return paths


def _make(name: str, full: str, int8: str) -> None:
    import torch

    from ...engine.spec import QUADRANTS, AudioSpec, ModelSpec
    from ...export.precision import int8_from_onnx, layers_to_quantize, tensors_to_quantize
    from ...export.torch_to_onnx import onnx_from_network
    from ...training.networks.backbones import build_backbone

    torch.manual_seed(0)
    network = build_backbone(name, len(QUADRANTS))
    spec = ModelSpec(name, QUADRANTS, AudioSpec(), provenance={"weights": "random: for speed only"})
    onnx_from_network(network, spec, Path(full))
    model = onnx.load(full)
    # The ranges are made up too: integers cost the same whatever they stand for.
    ranges = dict.fromkeys(tensors_to_quantize(model, layers_to_quantize(model)), (-4.0, 4.0))
    made = int8_from_onnx(model, ranges)
    onnx.helper.set_model_props(made, {prop.key: prop.value for prop in model.metadata_props})
    write_whole(Path(int8), made.SerializeToString())


def _backbone_of(path: Path) -> str:
    try:
        return open_artifact(str(path)).spec.backbone
    except MerError:
        return path.stem


def _rows_of(path: Path, source: str, runtimes: Sequence[str], quick: bool) -> Iterator[Case]:
    """One artifact's rows; what cannot be opened is one row with the reason."""
    try:
        artifact = open_artifact(str(path))
        precision = precision_of(artifact.content) if path.suffix == ".onnx" else _engine_precision(path)
    except MerError as error:
        yield Case(path.stem, path, source, "-", "-", str(error))
        return
    for runtime in runtimes:
        if (runtime == "tensorrt") != (path.suffix == ".engine"):
            continue
        if runtime in BASELINES and precision != "fp32":
            continue
        yield Case(path.stem, path, source, runtime, precision, _why_not(runtime, artifact, quick))
        if runtime == "openvino" and precision == "fp32":
            yield Case(path.stem, path, source, runtime, "bf16", _why_no_bf16())


def _engine_precision(path: Path) -> str:
    try:
        return str(json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["precision"])
    except (OSError, ValueError, KeyError):
        return "-"


def _why_not(runtime: str, artifact: Artifact, quick: bool) -> str | None:
    packages = _PACKAGES.get(runtime, ())
    if packages and not any(find_spec(package) for package in packages):
        return f"{packages[0]} is not installed"
    if runtime in BASELINES and artifact.spec.backbone not in (*BACKBONES, "audiocnn"):
        return f"no backbone {artifact.spec.backbone} to rebuild"
    if runtime == "torch.compile" and quick:
        return "compiling takes a minute or more: left out by --quick"
    return None


def _why_no_bf16() -> str | None:
    if find_spec("openvino") is None:
        return "openvino is not installed"
    from ...engine.runtimes.openvino import has_bf16

    return None if has_bf16() else "this CPU does not compute bf16"
