"""Embeddings are the engine's windows through a network without its last layer, computed once."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import torch
from audioset_files import random_audioset
from generated import folder_of
from merkit.engine.data.labelled_audio import Clip
from merkit.engine.errors import MerError, UsageError
from merkit.engine.labelling.file_windows import WindowOptions, log_mels_from_file
from merkit.engine.spec import AudioSpec, ModelSpec
from merkit.engine.spectrogram.presets import PRESETS
from merkit.training.embeddings import embeddings
from merkit.training.embeddings.ears import ears_from_source, ears_of
from merkit.training.embeddings.embeddings import clip_embeddings, window_embeddings
from merkit.training.networks.backbones import build_backbone
from merkit.training.networks.checkpoint import save_checkpoint
from merkit.training.networks.trained import trained_network
from safetensors.torch import save_file

AUDIO = AudioSpec(window_samples=16_000, frames=32, n_mels=32, top_db=60.0)  # top_db: one patch a window


def arrays(embedded: list[np.ndarray | MerError]) -> list[np.ndarray]:
    assert not any(isinstance(each, MerError) for each in embedded)
    return [np.asarray(each) for each in embedded]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder with a network that has heard nothing."""
    return _run(tmp_path / "run", 0)


def _run(folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    network = build_backbone("audiocnn", 2).eval()
    save_checkpoint(network, ModelSpec("audiocnn", ("a", "b"), AUDIO), folder / "checkpoint.safetensors")
    return folder


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    folder_of(tmp_path / "songs", ("happy", "sad"), 2)
    return [Clip(path, "", "") for path in sorted((tmp_path / "songs").rglob("*.wav"))]


def test_the_last_layer_of_an_embedding_gives_the_logits(
    run: Path, clips: list[Clip], tmp_path: Path, decoded: list[str]
):
    from merkit.training.networks.checkpoint import network_from_checkpoint

    windows = arrays(window_embeddings(str(run), clips, tmp_path / "cache"))
    network, spec = network_from_checkpoint(run / "checkpoint.safetensors")
    log_mels = np.asarray(log_mels_from_file(str(clips[0].path), WindowOptions(spec.audio)).log_mels)
    with torch.inference_mode():
        expected = network(torch.from_numpy(log_mels))
        features = torch.from_numpy(windows[0])  # of both parts: 384 and 512
        heads = [network.get_submodule(p) for p in ("classifier.1", "statistics.classifier.4")]
        logits = (heads[0](features[:, :384]) + heads[1](features[:, 384:])) / 2
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    means = arrays(clip_embeddings(str(run), clips, tmp_path / "cache"))
    assert np.allclose(means[1], windows[1].mean(axis=0))
    assert {len(window) for window in windows} == {3}


def test_what_was_computed_is_not_computed_again(
    run: Path, clips: list[Clip], tmp_path: Path, decoded: list[str]
):
    counts: list[int] = []
    first = arrays(clip_embeddings(str(run), clips[:3], tmp_path / "cache"))
    again = arrays(clip_embeddings(str(run), clips, tmp_path / "cache", on_done=counts.append))
    assert decoded == [clip.path.name for clip in clips]  # each once
    assert counts == [3, 4]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=False))
    # Damaged, it is computed anew; of another network it is another file.
    (damaged,) = (tmp_path / "cache").rglob(f"{clips[0].id}.npy")
    damaged.write_bytes(damaged.read_bytes()[:200])
    (anew,) = arrays(clip_embeddings(str(run), clips[:1], tmp_path / "cache"))
    assert np.array_equal(anew, first[0])
    other = arrays(clip_embeddings(str(_run(tmp_path / "other", 1)), clips[:1], tmp_path / "cache"))
    assert len(decoded) == 6
    assert not np.array_equal(other[0], first[0])


def test_equal_sound_is_computed_once(run: Path, clips: list[Clip], tmp_path: Path, decoded: list[str]):
    copy = tmp_path / "copy.wav"
    copy.write_bytes(clips[0].path.read_bytes())
    one, two = arrays(clip_embeddings(str(run), [clips[0], Clip(copy, "", "")], tmp_path / "cache"))
    assert np.array_equal(one, two)
    assert len(decoded) == 1


def test_what_cannot_be_heard_gives_a_reason(
    run: Path, clips: list[Clip], tmp_path: Path, decoded: list[str]
):
    text = tmp_path / "notes.wav"
    text.write_text("no sound")
    refused, gone, good = clip_embeddings(
        str(run), [Clip(text, "", ""), Clip(tmp_path / "gone.wav", "", ""), clips[0]], tmp_path / "cache"
    )
    assert isinstance(refused, MerError)
    assert isinstance(gone, MerError)
    assert isinstance(good, np.ndarray)


def test_a_full_disk_ends_it_in_a_line(
    run: Path, clips: list[Clip], tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(embeddings, "whole_file", full)
    with pytest.raises(MerError, match=r"cannot be written: the disk is full"):
        clip_embeddings(str(run), clips, tmp_path / "cache")


def test_short_windows_are_heard_as_patches(tmp_path: Path):
    """Ten windows of 1 s: mean and deviation of what the network hears in each of them."""
    audio = AudioSpec(window_samples=16_000, frames=32, n_mels=32)
    network = build_backbone("squeezenet", 2).eval()
    save_checkpoint(network, ModelSpec("squeezenet", ("a", "b"), audio), tmp_path / "c.safetensors")
    ears = ears_from_source(str(tmp_path / "c.safetensors"))
    assert (ears.audio.frames, ears.audio.window_samples) == (320, 163_840)
    log_mels = np.random.default_rng(0).normal(0, 1, (2, 1, 32, 320)).astype(np.float32)
    classifier = network.get_submodule("classifier")
    heard: list[torch.Tensor] = []
    classifier.register_forward_pre_hook(lambda module, inputs: heard.append(inputs[0].relu().mean((2, 3))))
    with torch.inference_mode():
        for start in range(0, 320, 32):
            network(torch.from_numpy(log_mels[..., start : start + 32].copy()))
    parts = torch.stack(heard).numpy()  # [patches, batch, features]
    expected = np.concatenate([parts.mean(axis=0), parts.std(axis=0)], axis=1)
    assert np.allclose(ears.embed(log_mels), expected, rtol=1e-3, atol=1e-4)


def test_of_published_weights_the_middle_blocks_are_heard_and_in_long_windows_the_hidden_layer(
    tmp_path: Path,
):
    save_file(random_audioset(), tmp_path / "ears.safetensors")
    trained = trained_network(str(tmp_path / "ears.safetensors"))
    ears = ears_from_source(str(tmp_path / "ears.safetensors"))
    assert ears.key == ears_of(trained, with_middle=True).key != ears_of(trained).key
    whole = ears_of(trained, with_middle=True, with_hidden=True)
    assert whole.embedding.hidden
    assert whole.key != ears.key
    short = ears_of(trained, PRESETS["audioset-short"], with_middle=True, with_hidden=True)
    assert not short.embedding.hidden


def test_unknown_sources_are_refused(tmp_path: Path):
    for source in (str(tmp_path), "no-such-network", str(tmp_path / "gone.safetensors")):
        with pytest.raises(UsageError):
            ears_from_source(source)
