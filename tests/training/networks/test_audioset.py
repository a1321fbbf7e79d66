"""The AudioSet network equals its authors' definition, on weights by the published names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soxr
import torch
from audioset_files import published_audioset, random_audioset
from merkit.engine.errors import MerError, UsageError
from merkit.engine.spectrogram.log_mel import log_mel_from_audio
from merkit.engine.spectrogram.presets import PRESETS
from merkit.training.networks.audioset import AudioSetNet, audioset_state
from merkit.training.networks.backbones import build_backbone, head_parameters
from merkit.training.networks.embedding import Embedding
from safetensors.torch import save_file
from torch.nn import functional

AUDIO = PRESETS["audioset"]


def test_published_weights_give_the_published_network():
    published = random_audioset()
    network = AudioSetNet()
    network.load_state_dict(audioset_state(published))
    network.eval()
    decibels = torch.from_numpy(np.random.default_rng(1).uniform(-90, 60, (2, 1, 128, 40)))
    # As published: (ln(power + 1e-5) + 4.5) / 5, of the power that the gain makes of these decibels.
    power = 10 ** ((decibels + network.gain[:, None].double()) / 10)
    image = ((torch.log(power + 1e-5) + 4.5) / 5).float()
    with torch.inference_mode():
        features, logits = published_audioset(published, image)
        log_mels = ((decibels - AUDIO.mean[0]) / AUDIO.std[0]).float()
        torch.testing.assert_close(
            network(log_mels), logits, rtol=1e-3, atol=1e-3 * float(logits.abs().max())
        )
        ours = Embedding(network, "audioset")(log_mels)
        torch.testing.assert_close(ours, features, rtol=1e-3, atol=1e-3 * float(features.abs().max()))


def test_the_first_of_its_mels_are_heard_as_sound_that_ends_where_they_do():
    network = AudioSetNet()
    network.load_state_dict(audioset_state(random_audioset()))
    log_mels = torch.from_numpy(np.random.default_rng(1).uniform(-2, 2, (2, 1, 128, 40)).astype(np.float32))
    ended = log_mels.clone()
    ended[:, :, 103:] = (-200 - AUDIO.mean[0]) / AUDIO.std[0]
    with torch.inference_mode():
        ours = Embedding(network, "audioset", mels=128)(log_mels[:, :, :103])
        torch.testing.assert_close(ours, Embedding(network, "audioset")(ended))
        # Without the silence above them they are another sound.
        bare = Embedding(network, "audioset")(log_mels[:, :, :103])
        assert not torch.allclose(ours, bare, rtol=1e-2)
        assert not torch.allclose(ours, Embedding(network, "audioset")(log_mels), rtol=1e-2)


def test_the_middle_blocks_means_stand_before_the_last_ones():
    network = AudioSetNet().eval()
    log_mels = torch.from_numpy(np.random.default_rng(1).uniform(-2, 2, (2, 1, 128, 40)).astype(np.float32))
    given: list[torch.Tensor] = []
    for block in network.features:
        block.register_forward_hook(lambda module, inputs, output: given.append(output.mean(dim=(2, 3))))
    with torch.inference_mode():
        ours = Embedding(network, "audioset", middle=AudioSetNet.MIDDLE)(log_mels)
        network(log_mels)
        last = Embedding(network, "audioset")(log_mels)
        hidden = Embedding(network, "audioset", middle=AudioSetNet.MIDDLE, hidden=True)(log_mels)
    assert (ours.shape, last.shape) == ((2, 768), (2, 384))
    torch.testing.assert_close(ours[:, -384:], last)
    torch.testing.assert_close(ours, torch.cat(given[AudioSetNet.MIDDLE - len(network.features) :], dim=1))
    with torch.inference_mode():
        expected = functional.hardswish(network.classifier[0](last))
    torch.testing.assert_close(hidden, torch.cat([ours, expected], dim=1))


def test_it_hears_nearly_what_the_published_network_hears():
    """Noise of the level of music: Kaldi's mels of a sound with pre-emphasis, in the published window."""
    rng = np.random.default_rng(0)
    audio = (0.1 * rng.standard_normal((1, AUDIO.window_samples))).astype(np.float32)
    network = AudioSetNet()
    ours = network._heard(torch.from_numpy(log_mel_from_audio(audio, AUDIO)))[0, 0].numpy()

    emphasised = audio[0, 1:].astype(np.float64) - 0.97 * audio[0, :-1]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(800) / 799)
    padded = np.pad(emphasised, 512, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 1024)[::320][:1000, 112:912]
    power = np.abs(np.fft.rfft(frames * window, 1024)) ** 2
    mel = 1127 * np.log(1 + np.arange(513) * 32_000 / 1024 / 700)
    edges = np.linspace(0, 1127 * np.log(1 + 15_000 / 700), 130)
    slopes = (mel - edges[:-2, None]) / (edges[1] - edges[0]), (edges[2:, None] - mel) / (edges[1] - edges[0])
    filters = np.maximum(0, np.minimum(*slopes))
    theirs = (np.log(power @ filters.T + 1e-5) + 4.5) / 5
    # A unit is 21.7 dB: a tenth of a decibel over time, and a sixth in the mean cell of noise. (With a window
    # of 1,024 the latter would be 0.8 dB.)
    assert np.abs(ours.mean(axis=1) - theirs.mean(axis=0)).max() < 0.007
    assert np.abs(ours - theirs.T).mean() < 0.009


def test_silence_is_finite_and_is_the_floor():
    heard = AudioSetNet()._heard(torch.full((1, 1, 128, 4), (-100 + 20) / 20))
    assert torch.allclose(heard, torch.full_like(heard, (np.log(1e-5) + 4.5) / 5), atol=1e-3)


def test_as_a_backbone_it_gets_a_new_head(tmp_path: Path):
    save_file(random_audioset(), tmp_path / "ears.safetensors")
    network = build_backbone("audioset", 3, str(tmp_path / "ears.safetensors"))
    assert network(torch.zeros(2, 1, 128, 40)).shape == (2, 3)
    stem = network.get_parameter("features.0.0.weight")
    assert torch.equal(stem, random_audioset()["features.0.0.weight"])
    assert {tuple(p.shape) for p in head_parameters(network, "audioset")} == {
        (512, 384), (512,), (3, 512), (3,)
    }  # fmt: skip
    tags = build_backbone("audioset", 3, str(tmp_path / "ears.safetensors"), extra_head=True)
    assert tags(torch.zeros(2, 1, 128, 40)).shape == (2, 3)


def test_wrong_weights_are_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="hears no images"):
        build_backbone("audioset", 3, "imagenet")
    broken = random_audioset()
    broken["classifier.5.bias"] = broken["classifier.5.bias"][:100]
    save_file(broken, tmp_path / "short.safetensors")
    with pytest.raises(MerError, match="do not fit audioset"):
        build_backbone("audioset", 3, str(tmp_path / "short.safetensors"))


def test_its_spec_for_16_khz_has_the_lower_mels_of_its_own():
    """Of every second frame, but for the level, which is relative."""
    rng = np.random.default_rng(2)
    steps = np.repeat(rng.uniform(0.02, 1, 20), 16_000)  # louder and quieter, twice a second
    audio = (0.1 * steps * rng.standard_normal(320_000)).astype(np.float32)
    light = PRESETS["audioset-16k"]
    ours = log_mel_from_audio(soxr.resample(audio, 32_000, 16_000, "VHQ")[None], light)
    theirs = log_mel_from_audio(audio[None], AUDIO)[:, :, : light.n_mels, ::2]
    difference = light.std[0] * ours - AUDIO.std[0] * theirs
    assert ours.shape == theirs.shape == (1, 1, 103, 500)
    assert np.abs(difference - np.median(difference))[..., :-1, :].mean() < 0.7  # dB; a cell of noise has 5
    assert np.ptp(np.median(difference, axis=3)[..., :100]) < 0.5
    assert AudioSetNet(3).eval()(torch.from_numpy(ours)).shape == (1, 3)
