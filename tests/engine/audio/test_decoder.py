"""What every decoder shares: the limits of one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from audio_files import write_audio
from merkit.engine.audio import decoder
from merkit.engine.audio.decoder import Budget, Limits
from merkit.engine.errors import AudioError, UnreadableError
from merkit.engine.spec import AudioSpec
from reading import refusal

SPEC = AudioSpec()


def test_limits(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.wav", np.zeros((16_000, 8), np.float32) + 0.1, 16_000)
    assert "8 channels" in refusal(path, SPEC, channels=6)
    assert "16000 Hz" in refusal(path, SPEC, sample_rate=8_000)
    assert "decodes to more" in refusal(path, SPEC, decoded_samples=1_000)
    assert "longer than 0 s" in refusal(path, SPEC, seconds=0)


def test_a_budget_adds_up() -> None:
    budget = Budget(Limits(decoded_samples=100))
    budget.check_format(44_100, 64)
    budget.spend(60)
    budget.spend(40)
    with pytest.raises(AudioError, match=r"decodes to more than 100 samples \(--max-decoded\)"):
        budget.spend(1)
    for rate, channels in ((0, 1), (999, 1), (1_000_001, 1), (44_100, 0), (44_100, 65)):
        with pytest.raises(AudioError, match=r"sample rate of|channels; at most 64"):
            budget.check_format(rate, channels)


class Clocks:
    """Stands in for ``time``: the wall's seconds and those of the CPU."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def monotonic(self) -> float:
        return self.wall

    def process_time(self) -> float:
        return self.cpu

    def run(self, wall: float, cpu: float) -> None:
        self.wall += wall
        self.cpu += cpu


def test_time_in_which_the_process_was_stopped_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks()
    monkeypatch.setattr(decoder, "time", clocks)
    budget = Budget(Limits(seconds=10))
    for _ in range(3):
        clocks.run(0.5, 0.5)
        budget.spend(1)
        clocks.run(3_600, 0.0)
        budget.spend(1)
    assert not budget.half_spent()
    clocks.run(0.6, 0.6)
    budget.spend(1)
    assert budget.half_spent()


@pytest.mark.parametrize(("wall", "cpu"), [(0.01, 0.01), (0.9, 0.0), (30.0, 30.0)])
def test_time_of_work_and_of_short_waits_counts(
    wall: float, cpu: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = Clocks()
    monkeypatch.setattr(decoder, "time", clocks)
    budget = Budget(Limits(seconds=10))
    with pytest.raises(AudioError, match="longer than 10 s"):  # noqa: PT012
        while clocks.wall < 12:
            clocks.run(wall, cpu)
            budget.spend(1)
    assert clocks.wall == pytest.approx(max(wall, 10), abs=1.1 * wall)


@pytest.mark.parametrize(
    ("wall", "cpu", "kind"),
    [
        (0.9, 0.0, UnreadableError),
        (0.9, 0.4, UnreadableError),
        (0.9, 0.5, AudioError),
        (0.9, 3.0, AudioError),
    ],
)
def test_a_file_that_was_waited_for_is_not_called_bad(
    wall: float, cpu: float, kind: type[AudioError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a disk that is busy: another day it is decoded in time."""
    clocks = Clocks()
    monkeypatch.setattr(decoder, "time", clocks)
    budget = Budget(Limits(seconds=10))
    with pytest.raises(AudioError, match=r"decoding took longer than 10 s \(--timeout\)$") as error:  # noqa: PT012
        while clocks.wall < 12:
            clocks.run(wall, cpu)
            budget.spend(1)
    assert error.type is kind
