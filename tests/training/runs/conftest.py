"""Runs that several tests read. A test that changes one copies its folder first."""

from __future__ import annotations

import pytest
from merkit.training.data.examples import Examples
from merkit.training.data.splits import splits_from_protocol
from merkit.training.runs.train_run import train_split
from small_training import Trained, fast_job


@pytest.fixture(scope="session")
def trained(examples: Examples, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A network that has learnt to tell the songs apart."""
    job = fast_job("epochs=16")
    (split,) = splits_from_protocol(examples.clips, job.protocol, "grouped")
    return Trained(job, split, train_split(job, examples, split, tmp_path_factory.mktemp("trained")))
