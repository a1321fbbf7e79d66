"""Generated songs that all trainings of these tests share, and one thread for torch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from generated import folder_of
from merkit.engine.data.labelled_audio import labelled_audio
from merkit.training.data.examples import Examples, examples_from_audio
from small_training import fast_job

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the commands that tests start


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """The networks are so small that a second thread only waits for the first."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 40 songs: two labels of ten artists each; clips.csv says which artist."""
    return folder_of(tmp_path_factory.mktemp("songs"), ("calm", "tense"), 10, 2, 2.0)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def examples(songs: Path, cache: Path) -> Examples:
    """The songs as ``small_training`` hears them."""
    return examples_from_audio(labelled_audio(songs / "clips.csv"), fast_job().protocol.audio, cache)
