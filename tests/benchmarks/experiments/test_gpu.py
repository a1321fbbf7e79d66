"""docs/GPU.md says what the command prints, and the roofline is the roofline."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from merkit.benchmarks.cli import main
from merkit.benchmarks.experiments.gpu import (
    BATCH,
    CARDS,
    REACHED,
    Cost,
    cost_table,
    costs,
    costs_from_table,
    generated,
    paper_table,
)
from merkit.engine.backbone_names import BACKBONES
from merkit.engine.spec import AudioSpec

DOCUMENT = (Path(__file__).parents[3] / "docs" / "GPU.md").read_text(encoding="utf-8")


def decode_ms() -> float:
    (found,) = re.findall(r"mer-bench gpu --paper --decode-ms ([\d.]+)", DOCUMENT)
    return float(found)


def test_the_documents_tables_are_what_the_command_prints() -> None:
    """The second from the first; that the first holds is the slow test's."""
    found = costs_from_table(DOCUMENT)
    assert [cost.name for cost in found] == list(BACKBONES)
    assert cost_table(found) in DOCUMENT
    assert paper_table(found, decode_ms()) in DOCUMENT


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


def test_tables_round_trip() -> None:
    made = [Cost("resnet18", 1_000, 2_000, 3_000_000), Cost("vgg16", 1, 2, 3)]
    assert costs_from_table(f"before\n{cost_table(made)}\nafter | a | b | c |") == made


def test_generated_windows_differ() -> None:
    spec = AudioSpec(window_samples=16_000, frames=32)
    audio = generated(spec, 3)
    assert audio.shape == (3, 16_000)
    assert abs(audio).max() <= 1
    assert not (audio[0] == audio[1]).any()


def test_the_command_without_a_gpu(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["gpu"]).exit_code == 2
    done = CliRunner().invoke(main, ["gpu", str(Path(__file__)), "--json", str(tmp_path / "x.json")])
    assert done.exit_code == 1
    assert "Error: " in done.output
    assert not (tmp_path / "x.json").exists()
