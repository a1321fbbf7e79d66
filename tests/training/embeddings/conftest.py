"""Embeddings in this process: child processes take seconds to start."""

from __future__ import annotations

from pathlib import Path

import pytest
from merkit.training.embeddings import embeddings
from pool_here import pool_here


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Decodes in this process, and lists the files."""
    names: list[str] = []

    pool = pool_here(lambda item: names.append(Path(item).name))
    monkeypatch.setattr(embeddings, "WorkerPool", pool)
    return names
