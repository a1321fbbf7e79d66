"""What a GPU should reach by its data sheet, and how many cores would have to decode for it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ...engine.backbone_names import BACKBONES
from ...engine.errors import MerError
from ...engine.spec import PRESETS, QUADRANTS, ModelSpec
from ...export.graph_costs import workload_from_onnx

BATCH = 32
REACHED = 1 / 3
"""Assumed, not measured: the share of the roofline that an engine of a whole network reaches."""

Precision = Literal["FP16", "INT8"]


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
    """What one log-mel of the default spec costs: multiply-adds; FP32 bytes of weights and activations."""

    name: str
    macs: int
    weight_bytes: int
    activation_bytes: int

    def bound(self, card: Card, precision: Precision, batch: int = BATCH) -> float:
        """Images/s by the roofline: arithmetic at the peak or traffic at the bandwidth, whichever is slower.

        All weights and activations are taken to be of that precision, and weights are read once a batch.
        """
        peak, share = {"FP16": (card.fp16_tflops, 0.5), "INT8": (card.int8_tops, 0.25)}[precision]
        traffic = share * (self.weight_bytes / batch + self.activation_bytes)
        return min(peak * 1e12 / (2 * self.macs), card.memory_gb_s * 1e9 / traffic)


def costs(say: Callable[[str], None] = lambda line: None) -> list[Cost]:
    """The costs of the nine CNNs, counted in FP32 graphs that are made with random weights.

    Raises:
        MerError: torch is not installed.
    """
    networks = []
    with tempfile.TemporaryDirectory() as folder:
        for name in BACKBONES:
            say(f"counting {name}")
            path = Path(folder) / f"{name}.onnx"
            write_untrained(name, path)
            networks.append(_cost(name, path))
            path.unlink()
    return networks


def cost_table(networks: Iterable[Cost]) -> str:
    """Markdown with whole numbers, from which the other table can be computed again."""
    rows = ["| network | multiply-adds | weights, bytes | activations, bytes |", "|---|---:|---:|---:|"]
    rows += [f"| {c.name} | {c.macs:,} | {c.weight_bytes:,} | {c.activation_bytes:,} |" for c in networks]
    return "\n".join(rows)


def paper_table(networks: Iterable[Cost], decode_ms: float) -> str:
    """Markdown: expected images/s, and in brackets the cores that decode as fast.

    Args:
        decode_ms: CPU milliseconds to decode one window.
    """
    columns: list[tuple[Card, Precision]] = [
        (card, precision) for card in CARDS for precision in get_args(Precision)
    ]
    heads = " | ".join(f"{card.name} {precision}" for card, precision in columns)
    rows = [f"| network | {heads} |", "|---" + "|---:" * len(columns) + "|"]
    for cost in networks:
        rates = [REACHED * cost.bound(card, precision) for card, precision in columns]
        cells = " | ".join(f"{rate:,.0f} ({rate * decode_ms / 1e3:,.0f})" for rate in rates)
        rows.append(f"| {cost.name} | {cells} |")
    return "\n".join(rows)


def _cost(name: str, path: Path) -> Cost:
    import onnx

    workload = workload_from_onnx(onnx.load(str(path)))
    return Cost(name, workload.macs, workload.weight_bytes, workload.activation_bytes)


def write_untrained(name: str, path: Path) -> None:
    """Writes a backbone with random weights as FP32 ONNX of the default log-mels.

    Raises:
        MerError: torch is not installed.
    """
    try:
        from ...export.torch_to_onnx import onnx_from_network
        from ...training.networks.backbones import build_backbone
    except ModuleNotFoundError as error:
        raise MerError(
            f'counting the costs of networks needs {error.name}: pip install "merkit[train]"'
        ) from None
    spec = ModelSpec(name, QUADRANTS, PRESETS["emotion4q"])
    onnx_from_network(build_backbone(name, len(QUADRANTS)), spec, path)
