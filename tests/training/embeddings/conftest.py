"""Embeddings in this process: child processes take seconds to start."""

from __future__ import annotations

from pathlib import Path

import pytest
from merkit.engine.errors import MerError
from merkit.training.embeddings import embeddings


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Decodes in this process, and lists the files."""
    names: list[str] = []

    class Pool:
        def __init__(self, function, options, workers=0, seconds=0.0):
            self.function, self.options = function, options

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def map(self, items):
            for i, item in enumerate(items):
                names.append(Path(item).name)
                try:
                    yield i, self.function(item, self.options)
                except MerError as error:
                    yield i, embeddings.Failure(str(error))

    monkeypatch.setattr(embeddings, "WorkerPool", Pool)
    return names
