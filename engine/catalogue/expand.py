"""Expands files, folders, patterns, lists and URLs into a stream of inputs, which is not held in memory."""

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
    """Paths in the order of labelling, and the number of files that were left out."""

    paths: tuple[str, ...]
    skipped: int


class Sources:
    """An iterable of ``Source``: everything that the arguments name, in order.

    An argument is a file with any suffix (one that does not exist gets a row with an error); a
    folder, searched for audio files at every depth, in sorted order, following each link once; a pattern
    (``*``, ``?``, ``[...]``, ``**``); a playlist (.m3u, .m3u8), of which local entries are taken; a manifest
    (.csv, .parquet); or a URL that fsspec reads. ``columns`` are those of the manifests, apart from paths,
    with their kinds. ``skipped`` counts the files that were left out, during one iteration.

    Raises:
        UsageError: a manifest without the column of paths, or manifests with different columns.
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
        paths = sorted(glob.iglob(pattern, recursive=True))
        if not paths:
            raise MerError(f"nothing matches {pattern}")
        for path in paths:
            if os.path.isdir(path):
                # ** matches every folder and every file in it: searching the folder would repeat them.
                if "**" not in pattern:
                    yield from map(source_from_path, self._below(path))
            elif os.path.splitext(path)[1].lower() in AUDIO_SUFFIXES:
                yield source_from_path(path)
            else:
                self._skip()

    def _below(self, root: str) -> Iterator[str]:
        seen: set[tuple[int, int]] = set()
        errors: list[OSError] = []
        for folder, folders, files in os.walk(root, followlinks=True, onerror=errors.append):
            try:
                status = os.stat(folder)
            except OSError:  # removed since it was listed
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
        # A folder that cannot be read becomes an input with an error: its songs must not be missing silently.
        yield from (str(error.filename) for error in errors if os.path.isdir(error.filename))

    def _skip(self) -> None:
        self.skipped += 1


def inputs_from_paths(paths: Iterable[str | Path]) -> Inputs:
    """The paths of ``Sources(paths)`` in memory, for short lists."""
    sources = Sources(paths)
    expanded = tuple(source.path for source in sources)
    return Inputs(expanded, sources.skipped)


def _is_manifest(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in (".csv", ".parquet") and not is_remote(path)
