"""What a user names on the command line, as a stream of inputs: nothing is kept for each file."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..audio.formats import AUDIO_SUFFIXES, is_remote
from ..errors import MerError
from .source import Source, source_from_path


@dataclass(frozen=True)
class Inputs:
    """Paths in the order they will be labelled, and how many files of folders were left out."""

    paths: tuple[str, ...]
    skipped: int


class Sources:
    """Everything that arguments name, in order: iterate once for ``Source`` after ``Source``.

    An argument is a file, taken whatever its suffix (it need not exist: its row will say so); a
    folder, searched for audio below it, sorted, links followed once; a pattern (``*``, ``?``,
    ``[...]``, ``**``); a playlist (.m3u, .m3u8: its local entries); a manifest (.csv, .parquet); or
    a URL that fsspec knows. ``skipped`` counts, while iterating, what was left out.

    Raises:
        UsageError: a manifest without the column, or whose columns are not those of another.
        MerError: a playlist or manifest that cannot be read, or a pattern that matches nothing.
    """

    def __init__(self, arguments: Iterable[str | Path], path_column: str = "path") -> None:
        from .manifests import columns_of_manifests

        self.arguments = [os.fspath(argument) for argument in arguments]
        self._path_column = path_column
        self.columns = columns_of_manifests(filter(_is_manifest, self.arguments), path_column)
        self.skipped = 0

    def __iter__(self) -> Iterator[Source]:
        for argument in self.arguments:
            yield from self._of(argument)

    def _of(self, argument: str) -> Iterator[Source]:
        suffix = os.path.splitext(argument)[1].lower()
        if is_remote(argument):
            from .remote_listing import sources_from_url

            yield from sources_from_url(argument, self._skip)
        elif os.path.isdir(argument):
            yield from map(source_from_path, self._below(argument))
        elif _is_manifest(argument):
            from .manifests import sources_from_manifest

            yield from sources_from_manifest(argument, self._path_column)
        elif suffix in (".m3u", ".m3u8") and os.path.exists(argument):
            from .manifests import sources_from_playlist

            yield from sources_from_playlist(argument, self._skip)
        elif not os.path.lexists(argument) and glob.has_magic(argument):
            yield from self._matching(argument)
        else:
            yield source_from_path(argument)

    def _matching(self, pattern: str) -> Iterator[Source]:
        found = False
        for path in sorted(glob.iglob(pattern, recursive=True)):
            found = True
            if os.path.isdir(path):
                # ** gives every folder and every file below it: a folder's search would repeat them.
                if "**" not in pattern:
                    yield from map(source_from_path, self._below(path))
            elif os.path.splitext(path)[1].lower() in AUDIO_SUFFIXES:
                yield source_from_path(path)
            else:
                self._skip()
        if not found:
            raise MerError(f"nothing matches {pattern}")

    def _below(self, root: str) -> Iterator[str]:
        seen: set[tuple[int, int]] = set()
        closed: list[OSError] = []
        for folder, folders, files in os.walk(root, followlinks=True, onerror=closed.append):
            try:
                status = os.stat(folder)
            except OSError:  # gone meanwhile
                continue
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders.sort()
            files.sort()
            for name in files:
                if os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES:
                    yield os.path.join(folder, name)
                else:
                    self._skip()
        # A folder that may not be read fails as an input: in silence its songs would be missing.
        yield from (str(error.filename) for error in closed if os.path.isdir(error.filename))

    def _skip(self) -> None:
        self.skipped += 1


def inputs_from_paths(paths: Iterable[str | Path]) -> Inputs:
    """Everything that paths name, at once: for lists that fit into memory; see ``Sources``."""
    sources = Sources(paths)
    found = tuple(source.path for source in sources)
    return Inputs(found, sources.skipped)


def _is_manifest(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in (".csv", ".parquet") and not is_remote(path)
