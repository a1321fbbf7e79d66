"""Which recordings are taken from unpacked packages, and into which folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from audio_files import noise
from merkit.training.data.debian_sounds import collect


def test_a_kind_has_its_files_evenly_and_no_music(tmp_path: Path) -> None:
    share = tmp_path / "unpacked/usr/share"
    for name in [*(f"games/frozen-bubble/snd/{i:02}.ogg" for i in range(60)),
                 "games/frozen-bubble/snd/frozen-zik.ogg", "sounds/freedesktop/stereo/bell.oga"]:  # fmt: skip
        (share / name).parent.mkdir(parents=True, exist_ok=True)
        (share / name).write_text(name)
    counts = collect(tmp_path / "unpacked", tmp_path / "out")
    assert counts["bubbles"] == 30
    names = sorted(path.name for path in (tmp_path / "out/bubbles").iterdir())
    assert [name[4:] for name in names] == [f"{i:02}.ogg" for i in range(0, 60, 2)]
    copied = (tmp_path / "out/freedesktop/000_bell.oga").read_text()
    assert copied == "sounds/freedesktop/stereo/bell.oga"
    assert counts["words"] == counts["speech"] == counts["keyboard"] == 0  # packages that are not there


def test_typing_is_put_together_from_strokes_and_always_the_same(tmp_path: Path) -> None:
    keys = tmp_path / "unpacked/usr/share/buckle/wav"
    keys.mkdir(parents=True)
    for seed in range(3):
        soundfile.write(keys / f"{seed}.wav", noise(0.1, 44_100, seed), 44_100)
    for out in ("one", "two"):
        assert collect(tmp_path / "unpacked", tmp_path / out)["keyboard"] == 6
    read = [soundfile.read(tmp_path / out / "keyboard/3.wav")[0] for out in ("one", "two")]
    np.testing.assert_array_equal(read[0], read[1])
    assert len(read[0]) == 20 * 44_100
    assert 0.3 < (read[0] != 0).mean() < 0.7  # strokes of 0.1 s, about 0.17 s apart
