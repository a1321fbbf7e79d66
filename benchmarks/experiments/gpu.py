"""mer-bench gpu: what a GPU should give by its data sheet, and what it gives."""

from __future__ import annotations

import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...engine.arrays import Float32
from ...engine.artifact import Artifact, open_artifact
from ...engine.backbone_names import BACKBONES
from ...engine.errors import MerError
from ...engine.labelling.gpu_pipeline import GpuPipeline
from ...engine.runtimes import open_runtime
from ...engine.spec import QUADRANTS, AudioSpec, ModelSpec
from ...engine.spectrogram.dali import DaliLogMel
from ...engine.spectrogram.log_mel import log_mel_from_audio
from ...export.graph_costs import workload_from_onnx

BATCH = 32
REACHED = 1 / 3
"""Assumed, not measured: the share of the roofline that an engine of a whole network reaches."""


@dataclass(frozen=True)
class Card:
    """A GPU by NVIDIA's data sheet: dense tensor FLOPS and OPS (without sparsity), and memory."""

    name: str
    fp16_tflops: float
    int8_tops: float
    memory_gb_s: float
    source: str


CARDS = (
    Card("L4", 121.0, 242.0, 300.0, "L4 data sheet, half of its figures with sparsity"),
    Card("RTX 4090", 165.2, 660.6, 1_008.0, "Ada architecture paper: FP16 with FP32 accumulate"),
    Card("A100", 312.0, 624.0, 2_039.0, "A100 80 GB SXM data sheet"),
    Card("H100", 989.4, 1_978.9, 3_350.0, "H100 SXM data sheet, half of its figures with sparsity"),
)


@dataclass(frozen=True)
class Cost:
    """One image at the default spec: multiply-adds; FP32 bytes of weights and of activations."""

    name: str
    macs: int
    weight_bytes: int
    activation_bytes: int

    def bound(self, card: Card, precision: Literal["FP16", "INT8"], batch: int = BATCH) -> float:
        """Images a second by the roofline: arithmetic at the peak or traffic at the bandwidth, the less.

        Weights and activations are taken to be all of that precision, and weights read once a batch.
        """
        peak, share = {"FP16": (card.fp16_tflops, 0.5), "INT8": (card.int8_tops, 0.25)}[precision]
        traffic = share * (self.weight_bytes / batch + self.activation_bytes)
        return min(peak * 1e12 / (2 * self.macs), card.memory_gb_s * 1e9 / traffic)


def costs(say: Callable[[str], None] = lambda line: None) -> list[Cost]:
    """Of the nine CNNs, read from their FP32 graphs, which are made with random weights; needs torch."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name in BACKBONES:
            say(f"counting {name}")
            path = Path(folder) / f"{name}.onnx"
            _make_untrained(name, path)
            found.append(cost_of(name, path))
            path.unlink()
    return found


def cost_of(name: str, path: Path) -> Cost:
    """What one image costs a network, from its .onnx."""
    import onnx

    work = workload_from_onnx(onnx.load(str(path)))
    return Cost(name, work.macs, work.weight_bytes, work.activation_bytes)


def _make_untrained(name: str, path: Path) -> None:
    try:
        from ...export.torch_to_onnx import onnx_from_network
        from ...training.networks.backbones import build_backbone
    except ModuleNotFoundError as error:
        raise MerError(f'--paper needs {error.name}: pip install "merkit[train]"') from None
    onnx_from_network(build_backbone(name, len(QUADRANTS)), ModelSpec(name, QUADRANTS, AudioSpec()), path)


def cost_table(found: Iterable[Cost]) -> str:
    """Markdown, with whole numbers: what the other tables are computed from can be read from it."""
    rows = ["| network | multiply-adds | weights, bytes | activations, bytes |", "|---|---:|---:|---:|"]
    rows += [f"| {c.name} | {c.macs:,} | {c.weight_bytes:,} | {c.activation_bytes:,} |" for c in found]
    return "\n".join(rows)


def costs_from_table(text: str) -> list[Cost]:
    """The inverse of ``cost_table``, from a text that holds one."""
    found = []
    for line in text.splitlines():
        cells = [cell.strip().replace(",", "") for cell in line.strip("| ").split("|")]
        if len(cells) == 4 and cells[0] in BACKBONES and all(cell.isdecimal() for cell in cells[1:]):
            found.append(Cost(cells[0], *map(int, cells[1:])))
    return found


def paper_table(found: Iterable[Cost], decode_ms: float) -> str:
    """Markdown: expected images/s (a third of the roofline) and the cores that decode so fast."""
    names = [f"{card.name} {precision}" for card in CARDS for precision in ("FP16", "INT8")]
    rows = [f"| network | {' | '.join(names)} |", "|---" + "|---:" * len(names) + "|"]
    precisions: tuple[Literal["FP16", "INT8"], ...] = ("FP16", "INT8")
    for cost in found:
        cells = []
        for card in CARDS:
            for precision in precisions:
                rate = REACHED * cost.bound(card, precision)
                cells.append(f"{rate:,.0f} ({rate * decode_ms / 1e3:,.0f})")
        rows.append(f"| {cost.name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def measure(
    artifact: Artifact,
    seconds: float = 3.0,
    device: Literal["cpu", "gpu"] = "gpu",
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Runs an engine on this machine's GPU and gives all that was found, as plain JSON values.

    Args:
        seconds: for each measurement, at least.
        device: where DALI makes images; "cpu" only to try this without a GPU.

    Raises:
        DeviceError: no GPU that fits.
    """
    spec = artifact.spec.audio
    with open_runtime(artifact) as runtime:
        batch = min(BATCH, getattr(runtime, "batch", BATCH))
        audio = generated(spec, batch)
        images = log_mel_from_audio(audio, spec)
        found: dict[str, Any] = {
            "model": artifact.name,
            "runtime": runtime.name,
            "builder_version": artifact.facts.get("builder_version"),
            "machine": _machine(runtime),
            "batch": batch,
        }
        found["engine_against_onnx"] = _against_onnx(artifact, runtime.infer, images)
        say(f"engine against ONNX: {found['engine_against_onnx']}")
        stream = getattr(runtime, "stream", None)
        with DaliLogMel(spec, batch, device) as dali:
            dali.put(audio)
            made = dali.take()
            std = np.asarray(spec.std, np.float32)[:, None]
            host = np.asarray(made.as_cpu()) if device == "gpu" else np.asarray(made)
            found["dali_against_reference_db"] = float(np.abs((host - images) * std).max())
            say(f"DALI against the reference: {found['dali_against_reference_db']:.4f} dB")

            def make() -> None:
                dali.put(audio)
                dali.take()

            rates = {
                "engine, images from NumPy (copied)": lambda: runtime.infer(images),
                "engine, images on the GPU": (lambda: runtime.infer(made)) if stream else None,
                "DALI alone, from samples": make,
            }
            rate = {name: _rate(call, batch, seconds) for name, call in rates.items() if call is not None}
        with GpuPipeline(runtime, lambda size: DaliLogMel(spec, size, device)) as network:
            network.batch = batch
            both = _streamed(network, audio, seconds)
    rate["DALI and engine, overlapping"] = {"median": both, "runs": [both]}
    found["images_per_s"] = rate
    if stream:
        median = {name: value["median"] for name, value in rate.items()}
        engine, dali = median["engine, images on the GPU"], median["DALI alone, from samples"]
        # 1: one after the other; 2: two equal parts, one hidden behind the other wholly.
        found["overlap"] = both * (1 / engine + 1 / dali)
        copied = median["engine, images from NumPy (copied)"]
        found["transfer_ms_a_batch"] = 1e3 * batch * (1 / copied - 1 / engine)
    for name, value in rate.items():
        say(f"{name}: {value['median']:,.0f} images/s")
    return found


def generated(spec: AudioSpec, count: int) -> Float32:
    """Windows of tones over noise, all different; float32 ``[count, window_samples]``."""
    rng = np.random.default_rng(0)
    t = np.arange(spec.window_samples) / spec.sample_rate
    tones = np.stack([np.sin(2 * np.pi * hz * t) for hz in rng.uniform(80, 2_000, count)])
    return (0.4 * tones + 0.05 * rng.standard_normal(tones.shape)).astype(np.float32)


def write_report(found: list[dict[str, Any]], path: Path) -> None:
    """One JSON file of all engines."""
    path.write_text(json.dumps({"format": 1, "engines": found}, indent=2) + "\n", encoding="utf-8")


def _against_onnx(artifact: Artifact, infer: Callable[[Any], Float32], images: Float32) -> dict[str, Any]:
    named = str(artifact.facts.get("onnx", {}).get("file", ""))
    path = artifact.path.parent / Path(named).name  # beside it, whatever the sidecar says
    if not named or path.name != named or not path.is_file():
        return {"checked": False, "why": f"{named} is not beside the engine"}
    with open_runtime(open_artifact(str(path)), "onnxruntime") as reference:
        wanted = reference.infer(images)
    error = float(np.abs(infer(images) - wanted).max())
    largest = float(np.abs(wanted).max())
    return {"checked": True, "max_error": error, "relative_error": error / max(largest, 1e-12)}


def _rate(call: Callable[[], Any], batch: int, seconds: float) -> dict[str, Any]:
    """Images a second: the median of the runs, and every run."""
    for _ in range(3):  # kernels are compiled, clocks rise
        call()
    rates, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(rates) < 5:
        began = time.perf_counter()
        call()
        rates.append(batch / (time.perf_counter() - began))
    return {"median": statistics.median(rates), "runs": rates}


def _streamed(network: GpuPipeline, audio: Float32, seconds: float) -> float:
    list(network.add(0, audio))
    list(network.flush())
    done = begun = 0
    start = time.perf_counter()
    while time.perf_counter() < start + seconds or begun < 5:
        begun += 1
        done += sum(len(logits) for _, logits in network.add(begun, audio))
    done += sum(len(logits) for _, logits in network.flush())
    return done / (time.perf_counter() - start)


def _machine(runtime: Any) -> dict[str, Any]:
    gpu = getattr(runtime, "gpu", None)
    if gpu is None:
        raise MerError(f"{runtime.name} runs on no GPU: mer-bench gpu takes .engine files")
    return {
        "gpu": gpu.name,
        "capability": gpu.capability,
        "cuda_driver": gpu.driver,
        "host": platform.platform(),
    }
