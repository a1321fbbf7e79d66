"""int16 with a scale a window: within half a step, at any level, and nothing clipped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.labelling.packed_samples import packed_from_samples, samples_from_packed


@given(
    st.floats(-30, 100).map(lambda exponent: float(2.0**exponent)),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["both", "positive", "negative", "one click"]),
)
def test_every_sample_is_within_half_a_step(peak: float, seed: int, kind: str) -> None:
    samples = np.random.default_rng(seed).uniform(-1, 1, 500)
    samples = {"positive": abs(samples), "negative": -abs(samples)}.get(kind, samples)
    if kind == "one click":
        samples[7] = -1e4
    samples = np.asarray(samples / abs(samples).max() * peak, np.float32)
    packed, scale = packed_from_samples(samples)
    assert packed.dtype == np.int16
    assert 32_766 <= abs(packed.astype(int)).max() <= 32_767
    back = samples_from_packed(packed[None], np.asarray([scale]))[0]
    assert back.dtype == np.float32
    step = peak / 32_766
    assert np.abs(back.astype(np.float64) - samples).max() <= 0.51 * step


@pytest.mark.parametrize("samples", [[0.0, 0.0], [1e-45, -1e-45]])
def test_next_to_nothing_stays_finite(samples: list[float]) -> None:
    packed, scale = packed_from_samples(np.asarray(samples, np.float32))
    back = samples_from_packed(packed[None], np.asarray([scale]))
    np.testing.assert_allclose(back, [samples], atol=1e-37)
