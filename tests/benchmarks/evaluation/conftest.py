"""Noise of two levels, labelled by it, and networks that hear nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from level_network import write_level_network, write_noise


@pytest.fixture(scope="module")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    def make(name: str = "level", **options: Any) -> Path:
        return write_level_network(tmp_path_factory.mktemp("model") / f"{name}.onnx", **options)

    return make


@pytest.fixture(scope="module")
def model(make_model: Callable[..., Path]) -> Path:
    """ "loud" above -25 dB, else "quiet", and hardly sure."""
    return make_model(slope=0.05)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve clips of six artists: two of the six in loud/ are quiet, and one in quiet/ is loud."""
    folder = tmp_path_factory.mktemp("clips")
    rows = ["clip,label,artist"]
    for label, levels in (
        ("loud", (-20, -21, -22, -23, -40, -30)),
        ("quiet", (-40, -35, -31, -30, -28, -15)),
    ):
        for seed, level in enumerate(levels):
            write_noise(folder / label / f"{label}{seed}.wav", level, seed - 100 * level)
            rows.append(f"{label}{seed}.wav,{label},artist {seed}")
    (folder / "clips.csv").write_text("\n".join(rows))
    return folder
