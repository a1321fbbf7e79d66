"""Bad copies move an embedding by what the recipe's flaws change, and by nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from audio_files import noise
from merkit.engine.data.labelled_audio import Clip
from merkit.engine.labelling.file_windows import WindowOptions, log_mels_from_file
from merkit.engine.spec import AudioSpec
from merkit.training.embeddings import bad_copies
from merkit.training.embeddings.bad_copies import shifts_of_bad_copies
from merkit.training.embeddings.ears import Ears
from merkit.training.recipe import Recipe

SPEC = AudioSpec(n_mels=16, frames=20, window_samples=20 * AudioSpec().hop_length)


class _Bands(torch.nn.Module):
    """Each mel's mean: an embedding that shows what was changed."""

    def __init__(self) -> None:
        super().__init__()
        self.here, self.mels, self.middle = torch.nn.Parameter(torch.zeros(1)), 0, 0

    def forward(self, log_mels: torch.Tensor) -> torch.Tensor:
        return log_mels[:, 0].mean(dim=2)


EARS = Ears("bands", SPEC, _Bands())  # pyright: ignore[reportArgumentType]


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    for name in "ab":
        (tmp_path / name).write_text(name)
    return [Clip(tmp_path / name, "label", name) for name in "ab"]


def _windows() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(-30, 3, (windows, 16, 20)).astype(np.float32) for windows in (3, 1)]


def test_a_low_pass_moves_the_treble_alone(clips: list[Clip], tmp_path: Path):
    shifts = shifts_of_bad_copies(EARS, clips, _windows(), Recipe(lowpass=1.0), tmp_path)
    assert [rows.shape for rows in shifts] == [(12, 16), (4, 16)]
    moved = np.abs(np.concatenate(shifts))
    assert moved[:, 0].max() < 1e-4
    assert np.median(moved[:, -1]) > 10  # the highest cutoff is above the highest mel


def test_a_high_pass_moves_the_bass_alone(clips: list[Clip], tmp_path: Path):
    shifts = shifts_of_bad_copies(EARS, clips, _windows(), Recipe(highpass=1.0), tmp_path)
    moved = np.abs(np.concatenate(shifts))
    assert moved[:, 4:].max() < 1e-4
    assert 0.3 < (moved[:, 0] > 1).mean() < 0.8  # the lowest cutoffs are below the lowest mel


def test_a_clips_copies_are_the_same_each_time(clips: list[Clip], tmp_path: Path):
    recipe = Recipe(lowpass=0.5, noise=0.5, codec=0.5)
    first = shifts_of_bad_copies(EARS, clips, _windows(), recipe, tmp_path / "one")
    second = shifts_of_bad_copies(EARS, clips[::-1], _windows()[::-1], recipe, tmp_path / "two")
    assert all(np.array_equal(a, b) for a, b in zip(first, second[::-1], strict=True))
    assert not np.concatenate(first).any(axis=1).all()  # some copies have no flaw


def test_a_codec_is_a_real_one_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    song = tmp_path / "song.wav"
    soundfile.write(song, noise(12, 44_100), 44_100)
    heard = [np.asarray(log_mels_from_file(str(song), WindowOptions(SPEC)).log_mels)[:, 0]]
    arguments = EARS, [Clip(song, "label", "artist")], heard, Recipe(codec=1.0)
    with monkeypatch.context() as patch:
        patch.setattr(bad_copies, "bad_copy", lambda window, *_: window)
        (real,) = shifts_of_bad_copies(*arguments, tmp_path / "one")
        patch.setattr(bad_copies, "through_codec", lambda samples, *_: samples)
        (none,) = shifts_of_bad_copies(*arguments, tmp_path / "two")
    assert not none.any()
    copies = real.reshape(len(heard[0]), -1, 16)
    assert np.array_equal(copies, np.broadcast_to(copies[:, :1], copies.shape))
    assert 0.1 < np.abs(copies).max() < 20


def test_what_is_kept_is_found_again(clips: list[Clip], tmp_path: Path):
    recipe, ready = Recipe(noise=1.0), []
    made = shifts_of_bad_copies(EARS, clips, _windows(), recipe, tmp_path, ready.append)
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    silent = [np.zeros_like(windows) for windows in _windows()]
    kept = shifts_of_bad_copies(EARS, clips, silent, recipe, tmp_path)
    assert all(np.array_equal(a, b) for a, b in zip(made, kept, strict=True))
    (folder / f"{clips[0].id}.npy").write_bytes(b"cut off")
    again = shifts_of_bad_copies(EARS, clips, _windows(), recipe, tmp_path)
    assert np.array_equal(again[0], made[0])
    other = shifts_of_bad_copies(EARS, clips, _windows(), Recipe(noise=0.5), tmp_path)
    assert not np.array_equal(other[0], made[0])
    assert ready == [1, 2]
