"""A folder of files with the names of music, and rows of a good and a bad song."""

from __future__ import annotations

from pathlib import Path

import pytest
from merkit.engine.artifact import open_artifact
from merkit.engine.catalogue.rows import row_from_label
from songs import BAD, GOOD


@pytest.fixture
def music(tmp_path: Path) -> Path:
    for name in ("b.mp3", "a.mp3", "sub/c.ogg", "sub/deep/d.flac", "cover.jpg", "odd [1].mp3"):
        path = tmp_path / "music" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    return tmp_path / "music"


@pytest.fixture
def rows(tiny_model: Path) -> list[dict]:
    """The rows of ``GOOD`` and ``BAD``."""
    artifact = open_artifact(str(tiny_model))
    return [row_from_label(label, artifact) for label in (GOOD, BAD)]
