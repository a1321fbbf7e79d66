"""When logits count as another's, and when a network would show no mistake."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from merkit.benchmarks.experiments.gpu_checks.bench import CheckFailed, Reference
from merkit.engine.runtimes import onnxruntime
from merkit.engine.spec import AudioSpec

SPEC = AudioSpec(window_samples=16_000, frames=4, n_mels=4)
ARTIFACT: Any = SimpleNamespace(spec=SimpleNamespace(audio=SPEC))


def reference(monkeypatch: pytest.MonkeyPatch, logits: list[float]) -> Reference:
    """Of a network that gives these, window by window."""
    left = list(logits)

    def infer(log_mels: np.ndarray) -> np.ndarray:
        return np.asarray([[left.pop(0), 0.0] for _ in log_mels], np.float32)

    monkeypatch.setattr(onnxruntime, "OnnxRuntime", lambda *_: nullcontext(SimpleNamespace(infer=infer)))
    return Reference(ARTIFACT, len(logits), tolerance=0.01)


@pytest.mark.parametrize("change", [-1.0, 1.0])
def test_an_error_is_one_whichever_way_and_of_its_own_windows(
    monkeypatch: pytest.MonkeyPatch, change: float
) -> None:
    found = reference(monkeypatch, [1.0, -4.0, 2.0])
    assert (found.largest, found.error(found.logits[1:], 1)) == (4.0, 0.0)
    assert found.error(found.logits[1:] + np.float32(change), 1) == 0.25
    assert found.error(found.logits[1:]) == 1.5
    with pytest.raises(CheckFailed, match=r"wrong logits, off by 0\.25 of the largest: here"):
        found.check(found.logits[1:] + np.float32(change), "here", 1)
    found.check(found.logits[1:] + np.float32(0.01 * change), "here", 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_as_far_off_as_can_be(monkeypatch: pytest.MonkeyPatch, bad: float) -> None:
    found = reference(monkeypatch, [1.0, -4.0])
    logits = found.logits.copy()
    logits[1, 0] = bad
    assert found.error(logits) == float("inf")


def test_a_network_must_tell_windows_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """By more than what is called equal."""
    assert reference(monkeypatch, [1.0, 0.95] * 3).apart == pytest.approx(0.05, rel=1e-4)
    with pytest.raises(CheckFailed, match=r"nearly the same logits \(0\.03\)"):
        reference(monkeypatch, [1.0, 0.97] * 3)
