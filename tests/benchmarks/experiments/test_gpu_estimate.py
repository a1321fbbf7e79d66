"""docs/GPU.md says what the command prints, and the roofline is the roofline."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from merkit.benchmarks.experiments.gpu_estimate import (
    BATCH,
    CARDS,
    REACHED,
    Cost,
    binding_table,
    bus_rate,
    cost_table,
    costs,
    mel_rate,
    tables_of_paper,
)
from merkit.engine.backbone_names import BACKBONES

DOCUMENT = (Path(__file__).parents[3] / "docs" / "GPU.md").read_text(encoding="utf-8")


def costs_from_table(text: str) -> list[Cost]:
    """The inverse of ``cost_table``, from a text that holds one."""
    networks = []
    for line in text.splitlines():
        cells = [cell.strip().replace(",", "") for cell in line.strip("| ").split("|")]
        if len(cells) == 4 and cells[0] in BACKBONES and all(cell.isdecimal() for cell in cells[1:]):
            networks.append(Cost(cells[0], *map(int, cells[1:])))
    return networks


def decode_ms() -> float:
    (number,) = re.findall(r"mer-bench gpu --paper --decode-ms ([\d.]+)", DOCUMENT)
    return float(number)


def test_the_documents_tables_are_what_the_command_prints() -> None:
    """The second from the first; that the first holds is the slow test's."""
    networks = costs_from_table(DOCUMENT)
    assert [cost.name for cost in networks] == list(BACKBONES)
    for table in tables_of_paper(networks, decode_ms()):
        assert table in DOCUMENT


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_the_documents_costs_are_the_networks() -> None:
    pytest.importorskip("torch")
    assert costs() == costs_from_table(DOCUMENT)


def test_the_bound_is_the_lower_of_two() -> None:
    l4 = next(card for card in CARDS if card.name == "L4")
    arithmetic = Cost("a", macs=10**12, weight_bytes=4, activation_bytes=4)
    assert arithmetic.bound(l4, "FP16") == pytest.approx(121e12 / 2e12)
    assert arithmetic.bound(l4, "INT8") == pytest.approx(242e12 / 2e12)
    traffic = Cost("t", macs=1, weight_bytes=32 * 10**8, activation_bytes=10**8)
    assert traffic.bound(l4, "FP16") == pytest.approx(300e9 / 10**8)
    assert traffic.bound(l4, "INT8", batch=64) > 2 * traffic.bound(l4, "FP16")
    assert 0 < REACHED < 1
    assert BATCH == 32


def test_what_comes_before_the_network() -> None:
    h100 = next(card for card in CARDS if card.name == "H100")
    assert bus_rate(h100) == pytest.approx(64e9 / 3 / 320_000)
    # 1.6 MB for samples, 157 frames of 1,025 powers twice, 128 x 157 cells fifteen times.
    assert mel_rate(h100) == pytest.approx(3_350e9 / 3 / (1_600_000 + 1_287_400 + 1_205_760))


def test_what_binds() -> None:
    """A cheap network waits for decoding, then for the feed; a dear one is the limit itself."""
    cheap, dear = Cost("cheap", 10**6, 4, 4), Cost("dear", 10**10, 4, 4)
    rows = binding_table([cheap, dear], 9.89).splitlines()
    assert rows[0] == "| | 1 core | 16 cores | 64 cores | 128 cores |"
    first, last = rows[2], rows[-1]
    assert first == "| cheap, L4 | 100 decoding | 1,600 decoding | 6,400 decoding | 9,091 feed |"
    assert last.startswith("| dear, H100 | 100 decoding | 1,600 decoding | 6,400 decoding | 9,091 feed")
    (row,) = (line for line in rows if line.startswith("| dear, L4"))
    # 121 TFLOPS / 20 GFLOP / 3 and the log-mels: 1 / (1 / 2,017 + 1 / 24,431)
    assert row.endswith("| 1,600 decoding | 1,863 GPU | 1,863 GPU |")


def test_tables_round_trip() -> None:
    networks = [Cost("resnet18", 1_000, 2_000, 3_000_000), Cost("vgg16", 1, 2, 3)]
    assert costs_from_table(f"before\n{cost_table(networks)}\nafter | a | b | c |") == networks
