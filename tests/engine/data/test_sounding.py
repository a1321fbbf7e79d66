"""What sounds is told apart from what does not, whatever the files do to the process that looks."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from labelled_files import write_files, write_tone
from merkit.engine.data import sounding
from merkit.engine.data.sounding import paths_that_sound


def test_what_sounds(tmp_path: Path):
    write_files(tmp_path, "text.wav", tone="a", silent="")
    soundfile.write(tmp_path / "nothing.wav", np.zeros(0), 16_000)
    late = np.zeros(16_000 * 40)
    late[-16_000:] = 0.1 * np.sin(np.arange(16_000))
    soundfile.write(tmp_path / "late.flac", late, 16_000)
    strange = tmp_path / os.fsdecode(b"line\n\xff.wav")
    write_tone(strange, "b")
    paths = [*sorted(tmp_path.iterdir()), tmp_path / "gone.wav", tmp_path]
    assert paths_that_sound(paths) == {tmp_path / "tone.wav", tmp_path / "late.flac", strange}
    assert paths_that_sound([]) == set()


@pytest.mark.parametrize("fault", ["os.abort()", "time.sleep(60)", "1 / 0"])
def test_a_file_that_ends_or_holds_the_process_is_mute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
):
    paths = [tmp_path / f"{i}.wav" for i in range(3)]
    for path in paths:
        write_tone(path, path.name)
    monkeypatch.setattr(
        sounding,
        "_PROGRAM",
        f"import os, time\nfrom {sounding.__name__} import _answer, _sounds as sounds\n"
        f"import {sounding.__name__} as module\n"
        f"module._sounds = lambda path: {fault} if path.endswith('1.wav') else sounds(path)\n_answer()",
    )
    if "sleep" in fault:
        monkeypatch.setattr(sounding, "_FILE_S", 4.0)
    assert paths_that_sound(paths) == {paths[0], paths[2]}
