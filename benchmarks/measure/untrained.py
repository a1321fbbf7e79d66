"""The nine CNNs with random weights: only their speed means something."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx

from ...engine.artifact import models_home
from ...engine.errors import MerError
from ...engine.files import write_whole
from ...engine.spec import QUADRANTS, AudioSpec, ModelSpec


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
        code = f"from {__name__} import _make_untrained; import sys; _make_untrained(*sys.argv[1:])"
        done = subprocess.run(
            [sys.executable, "-c", code, name, *map(str, paths)], capture_output=True, text=True
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            raise MerError(f"{name} cannot be made: {lines[-1] if lines else done.returncode}")
    return paths


def write_untrained(name: str, audio: AudioSpec, path: Path) -> None:
    """Writes a backbone with random weights as FP32 ONNX."""
    import torch

    from ...export.torch_to_onnx import onnx_from_network
    from ...training.networks.backbones import build_backbone

    torch.manual_seed(0)
    spec = ModelSpec(name, QUADRANTS, audio, provenance={"weights": "random: for speed only"})
    onnx_from_network(build_backbone(name, len(QUADRANTS)), spec, path)


def _make_untrained(name: str, fp32: str, int8: str) -> None:
    from ...export.precision import int8_from_onnx, layers_to_quantize, tensors_to_quantize

    write_untrained(name, AudioSpec(), Path(fp32))
    model = onnx.load(fp32)
    # Calibration is not needed: integers are computed as fast whatever range they stand for.
    ranges = dict.fromkeys(tensors_to_quantize(model, layers_to_quantize(model)), (-4.0, 4.0))
    quantized = int8_from_onnx(model, ranges)
    onnx.helper.set_model_props(quantized, {prop.key: prop.value for prop in model.metadata_props})
    write_whole(Path(int8), quantized.SerializeToString())
