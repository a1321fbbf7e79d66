"""Which files have sound, asked of a process of its own: decoders crash on damaged files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from ..audio.decoder import Budget, Limits
from ..errors import AudioError
from ..spec import AudioSpec

_PROGRAM = f"from {__name__} import _answer; _answer()"
_FILE_S = Limits().seconds + 60  # for one file, and the start of the process


def paths_that_sound(paths: Sequence[Path]) -> set[Path]:
    """Those of the files that labelling would not refuse as silent, too short or damaged."""
    answers: list[bytes] = []
    while len(answers) < len(paths):
        asked = b"\0".join(os.fsencode(os.path.abspath(path)) for path in paths[len(answers) :])
        answers += _answers(asked)
        if len(answers) < len(paths):  # the next file has ended the process, or it hangs there
            answers.append(b"mute")
    return {path for path, answer in zip(paths, answers, strict=True) if answer == b"sounds"}


def _answers(asked: bytes) -> list[bytes]:
    seconds = _FILE_S + 0.2 * (asked.count(b"\0") + 1)  # a file that is whole takes a tenth of that
    command = [sys.executable, "-P", "-c", _PROGRAM]  # -P: no module of the working folder
    try:
        done = subprocess.run(
            command,
            input=asked,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )
        return done.stdout.split()
    except subprocess.TimeoutExpired as error:
        return (error.stdout or b"").split()


def _answer() -> None:
    """The process: a line on stdout for each path on stdin, as soon as it is known."""
    for path in sys.stdin.buffer.read().split(b"\0"):
        sounds = False
        with suppress(AudioError):
            sounds = _sounds(os.fsdecode(path))
        print("sounds" if sounds else "mute", flush=True)


def _sounds(path: str) -> bool:
    from ..audio.open import open_decoder  # the decoders' libraries, which only the process needs
    from ..audio.windows import windows_from_decoder

    budget = Budget(Limits())
    with closing(open_decoder(path, budget)) as decoder:
        windows = windows_from_decoder(decoder, AudioSpec(), 1, None, budget)
        return any(not window.silent for window in windows)
