"""What a GPU should reach by its data sheet, and how many cores would have to decode for it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import onnx

from ...engine.backbone_names import BACKBONES
from ...engine.errors import MerError
from ...engine.spectrogram.presets import PRESETS
from ...export.graph_costs import workload_from_onnx
from ..measure.untrained import write_untrained

BATCH = 32
REACHED = 1 / 3
"""Assumed, not measured: the share of a data sheet's figures that networks, log-mels and copies reach."""
FEED_MS = 0.11
"""CPU milliseconds a window of the process that feeds a GPU: a third of what docs/GPU.md has for a song."""
CORES = (1, 16, 64, 128)
BINDING = ("vgg16", "resnet50", "mobilenetv3")
"""The dearest network, one in between and the cheapest: for these it is said what binds."""

Precision = Literal["FP16", "INT8"]


@dataclass(frozen=True)
class Card:
    """A GPU by NVIDIA's data sheet: dense FLOPS and OPS of its tensor cores, memory, PCIe one way."""

    name: str
    fp16_tflops: float
    int8_tops: float
    memory_gb_s: float
    bus_gb_s: float
    source: str


CARDS = (
    Card("L4", 121.0, 242.0, 300.0, 32.0, "L4 data sheet, half of its figures with sparsity"),
    Card("RTX 4090", 165.2, 660.6, 1_008.0, 32.0, "Ada architecture paper: FP16 with FP32 accumulate"),
    Card("A100", 312.0, 624.0, 2_039.0, 32.0, "A100 80 GB SXM data sheet"),
    Card("H100", 989.4, 1_978.9, 3_350.0, 64.0, "H100 SXM data sheet, half of its figures with sparsity"),
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
        MerError: a package that makes them is not installed.
    """
    networks = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        for name in BACKBONES:
            say(f"counting {name}")
            try:
                write_untrained(name, PRESETS["emotion4q"], path)
            except ModuleNotFoundError as error:
                needs = f'needs {error.name}: pip install "merkit[train]"'
                raise MerError(f"counting the costs of networks {needs}") from None
            work = workload_from_onnx(onnx.load(path))
            networks.append(Cost(name, work.macs, work.weight_bytes, work.activation_bytes))
    return networks


def tables_of_paper(networks: Sequence[Cost], decode_ms: float) -> list[str]:
    """All tables of docs/GPU.md.

    Args:
        decode_ms: CPU milliseconds to decode one window.
    """
    return [
        cost_table(networks),
        paper_table(networks, decode_ms),
        feeding_table(decode_ms),
        binding_table([cost for cost in networks if cost.name in BINDING], decode_ms),
    ]


def cost_table(networks: Iterable[Cost]) -> str:
    """Markdown with whole numbers, from which the other table can be computed again."""
    rows = ["| network | multiply-adds | weights, bytes | activations, bytes |", "|---|---:|---:|---:|"]
    rows += [f"| {c.name} | {c.macs:,} | {c.weight_bytes:,} | {c.activation_bytes:,} |" for c in networks]
    return "\n".join(rows)


def paper_table(networks: Iterable[Cost], decode_ms: float) -> str:
    """Markdown: expected images/s, and in brackets the cores that decode as fast."""
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


def bus_rate(card: Card) -> float:
    """Windows/s that int16 samples reach over PCIe."""
    return REACHED * card.bus_gb_s * 1e9 / (2 * PRESETS["emotion4q"].window_samples)


def mel_rate(card: Card) -> float:
    """Log-mels/s by DALI's operators, which are bound by memory; each reads and writes there."""
    spec = PRESETS["emotion4q"]
    samples = (2 + 4 + 4) * spec.window_samples  # int16 to float32, which the spectrogram reads
    power = 2 * 4 * spec.frames * (spec.n_fft // 2 + 1)
    # Written by the filters; dB, pad, the mean power, the level, the limit and the standardising read and
    # write it, and two maxima read it.
    mels = (1 + 6 * 2 + 2) * 4 * spec.n_mels * spec.frames
    return REACHED * card.memory_gb_s * 1e9 / (samples + power + mels)


def feeding_table(decode_ms: float) -> str:
    """Markdown: windows/s of all that comes before the network."""
    rows = ["| | windows/s |", "|---|---:|"]
    rows += [
        f"| decoding and feeding, {cores} cores | {_decoded(decode_ms, cores):,.0f} |" for cores in CORES
    ]
    rows.append(f"| the process that feeds a GPU | {1e3 / FEED_MS:,.0f} |")
    for card in CARDS:
        rows.append(f"| PCIe to an {card.name}, int16 | {bus_rate(card):,.0f} |")
        rows.append(f"| log-mels on an {card.name} | {mel_rate(card):,.0f} |")
    return "\n".join(rows)


def binding_table(networks: Iterable[Cost], decode_ms: float) -> str:
    """Markdown: windows/s of one GPU in FP16 with so many cores, and what binds."""
    heads = " | ".join(f"{cores} core{'s' * (cores > 1)}" for cores in CORES)
    rows = [f"| | {heads} |", "|---" * (1 + len(CORES)) + "|"]
    for cost in networks:
        for card in CARDS:
            cells = [_binding(cost, card, decode_ms, cores) for cores in CORES]
            rows.append(f"| {cost.name}, {card.name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _binding(cost: Cost, card: Card, decode_ms: float, cores: int) -> str:
    network = REACHED * cost.bound(card, "FP16")
    rates = {
        "decoding": _decoded(decode_ms, cores),
        "feed": 1e3 / FEED_MS,
        "PCIe": bus_rate(card),
        "GPU": 1 / (1 / mel_rate(card) + 1 / network),  # one after the other on the same memory
    }
    name = min(rates, key=lambda each: rates[each])
    return f"{rates[name]:,.0f} {name}"


def _decoded(decode_ms: float, cores: int) -> float:
    return cores * 1e3 / (decode_ms + FEED_MS)
