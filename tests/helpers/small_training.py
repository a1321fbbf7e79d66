"""Trainings that take a second, on small log-mels; and predictions that are drawn at random."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from merkit.training.data.splits import Split
from merkit.training.evaluate.predictions import Predictions
from merkit.training.recipe import PROTOCOLS, with_overrides
from merkit.training.runs.observer import NoObserver
from merkit.training.runs.run_folder import FinishedRun
from merkit.training.runs.train_run import Job

SMALL = ["audio.window_samples=16000", "audio.hop_length=512", "audio.frames=32", "audio.n_mels=32"]
FAST = [*SMALL, "batch_size=12", "learning_rate=0.004", "ema=0.8"]
FAST_OPTIONS = [part for text in FAST for part in ("--set", text)]
"""The same for a command line."""


class Says(NoObserver):
    """Keeps what a session says in ``lines``."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


class Trained(NamedTuple):
    """A finished run, and what it was made from."""

    job: Job
    split: Split
    run: FinishedRun


def fast_job(*overrides: str) -> Job:
    """AudioCNN with the ``best`` protocol for eight epochs, unless an override says otherwise."""
    return Job("audiocnn", with_overrides(PROTOCOLS["best"], [*FAST, "epochs=8", *overrides]), "generated")


def drawn_predictions(count: int = 60, sharpness: float = 1.0, windows: int = 2) -> Predictions:
    """Logits of three labels that are mostly right; ``sharpness`` above 1 makes them overconfident."""
    rng = np.random.default_rng(0)
    truth = np.arange(count) % 3
    logits = rng.normal(0, 1, (count, windows, 3)) + 1.5 * np.eye(3)[truth][:, None]
    names = tuple(f"song{i}" for i in range(count))
    return Predictions(
        names, names, truth, tuple((sharpness * logits).astype(np.float32)), names, ("a", "b", "c")
    )
