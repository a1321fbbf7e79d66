"""A backend without sound or child processes: a file is a text that says its emotion and its title.

One whose title is "-" has no tags.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

from merkit.engine.artifact import Artifact
from merkit.engine.audio.formats import open_regular_file
from merkit.engine.errors import UnreadableError
from merkit.engine.labelling.file_windows import WindowOptions
from merkit.engine.labelling.song_label import SongLabel
from merkit.engine.labelling.worker_pool import Failure
from merkit.engine.spec import QUADRANTS, AudioSpec, ModelSpec

_SPEC = ModelSpec("tiny", QUADRANTS, AudioSpec(), provenance={"made": "by a test"})
MODEL = Artifact("tiny", Path("tiny.onnx"), _SPEC, "0" * 64, _SPEC.to_json().encode(), {})
OPTIONS = WindowOptions(_SPEC.audio)


class FakeBackend:
    """A ``LabelBackend``. The emotion "bad" is an error. ``before_file`` gets the number of each file."""

    name = "fake"

    def __init__(self, before_file: Callable[[int], None] = lambda _: None) -> None:
        self._before_file = before_file
        self.labelled: list[str] = []

    def label_files(self, paths: Iterable[str], *_: Any, **__: Any) -> Iterator[SongLabel]:
        for number, path in enumerate(paths):
            self._before_file(number)
            self.labelled.append(path)
            yield self._label(path)

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def _label(self, path: str) -> SongLabel:
        try:
            emotion, title = read(path)
        except UnreadableError as error:
            return SongLabel(path, str(error), unreadable=True)
        if emotion == "bad":
            return SongLabel(path, "bad")
        return SongLabel(path, None, emotion, (0.25,) * 4, 9.0, (), "fake", _tags(title))


def read(path: str) -> tuple[str, str]:
    """(emotion, title) of a file.

    Raises:
        UnreadableError: as ``open_regular_file``.
    """
    descriptor = open_regular_file(path)
    try:
        emotion, title = os.read(descriptor, 99).decode().split()
    finally:
        os.close(descriptor)
    return emotion, title


def read_tags(paths: Iterable[str], *_: object) -> Iterator[dict[str, str] | Failure]:
    """In place of ``engine.labelling.tags.read_tags``."""
    for path in paths:
        try:
            yield _tags(read(path)[1])
        except UnreadableError as error:
            yield Failure(str(error), unreadable=True)


def _tags(title: str) -> dict[str, str]:
    return {} if title == "-" else {"title": title}
