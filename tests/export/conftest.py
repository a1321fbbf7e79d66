"""Networks, music and a machine without a GPU, for the tests of exports."""

from __future__ import annotations

from pathlib import Path

import pytest
from merkit.export import builders, engine_builder, exporter
from small_networks import write_music, write_network


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has, the driver tells of no GPU."""
    for module in (builders, engine_builder, exporter):
        monkeypatch.setattr(module, "gpu_capability", lambda: None)


@pytest.fixture(scope="session")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CSV of ``write_music``; the clips lie beside it."""
    return write_music(tmp_path_factory.mktemp("music"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """``small_network`` as a file."""
    return write_network(tmp_path / "small.onnx")
