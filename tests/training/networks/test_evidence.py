"""The second output: its statistics against sums by hand, and what scaling and distance make of them."""

from __future__ import annotations

import math

import numpy as np
import torch
from merkit.training.networks.evidence import Evidence
from scipy.fft import dct


def test_the_statistics_of_one_window() -> None:
    network = Evidence(mels=40, frames=24)
    assert network.lags == [1, 2, 4, 8]
    image = np.random.default_rng(0).normal(0, 1, (40, 24))
    (given,) = network.statistics(torch.from_numpy(image).float()[None, None]).double().numpy()
    cepstrum = np.asarray(dct(image, norm="ortho", axis=0))[:30]
    expected = [*cepstrum.mean(axis=1)]
    expected += [math.log(np.var(row) + 1e-3) for row in cepstrum]
    for lag in (1, 2, 4, 8):
        expected += [math.log(np.mean((row[lag:] - row[:-lag]) ** 2) + 1e-3) for row in cepstrum]
    steps = np.diff(image, axis=0)
    bands = [steps[round(i * 39 / 8) : round((i + 1) * 39 / 8)] for i in range(8)]
    expected += [math.log(np.mean(band**2) + 1e-3) for band in bands]
    expected += [math.log(np.mean(band.mean(axis=1) ** 2) + 1e-3) for band in bands]
    np.testing.assert_allclose(given, expected, atol=1e-4)


def test_far_is_what_is_unlike_and_one_statistic_alone_is_never_all() -> None:
    network = Evidence(mels=40, frames=24).eval()
    with torch.no_grad():
        network.components.weight.zero_()
        network.components.weight[0, 0] = 64**0.5  # the first statistic alone, so that the length is its own
        network.components.bias.zero_()
    count = len(network.mean)
    scaled = torch.zeros(3, count)
    scaled[:, 0] = torch.tensor([1.0, 2.0, 2.0])
    scaled[2, 1] = 5.0
    distances = network.from_scaled(scaled)[:, 1].exp()
    np.testing.assert_allclose(distances.detach(), [1, 2, 2], atol=1e-4)
    assert network.scaled(torch.full((1, count), 1e9)).max() == 6


def test_windows_do_not_depend_on_their_batch() -> None:
    network = Evidence(mels=32, frames=32).eval()
    windows = torch.randn(3, 1, 32, 32)
    with torch.inference_mode():
        alone = torch.cat([network(window[None]) for window in windows])
        assert torch.allclose(network(windows), alone, atol=1e-5)
    assert alone.shape == (3, 2)
