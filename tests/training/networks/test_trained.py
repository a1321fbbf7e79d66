"""What weights may be named by, and what is said of what holds none."""

from __future__ import annotations

from pathlib import Path

import pytest
from merkit.engine.errors import UsageError
from merkit.training.networks.trained import trained_network


def test_a_folder_of_trainings_names_them(tmp_path: Path):
    for name in ("grouped", "random"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "checkpoint.safetensors").touch()
    with pytest.raises(UsageError, match="holds trainings in grouped and random: name one of them, such as"):
        trained_network(str(tmp_path))
