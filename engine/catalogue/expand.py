"""Expands files, folders, patterns, lists and URLs into a stream of inputs, which is not held in memory."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..audio.decoder import Limits
from ..audio.formats import is_remote
from ..errors import MerError
from ..text.escape import for_terminal, text_from_path
from . import manifests, playlists
from .cue_sheets import album_of_cue
from .hints import hint_of
from .patterns import is_pattern, pattern_below
from .reconcile import RealPaths
from .source import NO_FOLDER, Source, source_from_path
from .walk import Walk

_LONGEST_SUFFIX = 12  # with its dot; what stands behind the dot of a title is longer, or has a blank
_MOST_SUFFIXES = 1_000  # that are told apart: memory must not grow with the catalogue
_SUFFIXES_SHOWN = 6


@dataclass(frozen=True)
class Inputs:
    """Paths in the order of labelling, and the number of files that were left out."""

    paths: tuple[str, ...]
    skipped: int


class Sources:
    """An iterable of ``Source``: everything that the arguments name, in order.

    An argument is a file with any suffix; a folder, searched for audio files at every depth; a pattern
    (``*``, ``?``, ``[...]``, ``**``), unless a file has that name; a playlist (.m3u, .m3u8), of which local
    entries are taken; a manifest (.csv, .tsv, .parquet); or a URL that fsspec reads. What is not there,
    matches nothing or cannot be listed is an input itself, which gets a row with an error.

    Searches come to each folder once, whatever links lead there. They leave out hidden names and litter
    (litter.py says what that is); an argument is taken whatever its name.

    Attributes:
        manifests: those among the arguments.
        columns: those of the manifests, apart from paths, with their kinds. With other kinds than the
            manifests', values that are the same in them become such, and others end the iteration.
        skipped: the files that were left out during one iteration, and the folders that were not searched.
        skipped_urls: those in playlists, which are among them.
        skipped_suffixes: of those that only their suffix left out, in lower case, how many have it.
        albums: audio files that a cue sheet in the same folder divides into tracks, of folders and patterns.
        reasons: why folders and URLs cannot be listed, by their identities as rows hold them.
        check: called for each entry of each listing; what it raises ends the iteration. ``CatalogueRun``
            calls it for each shard of earlier rows too.
        limits: those of the listings of URLs; by default each URL may lead to its own host.

    Args:
        path_column: the column of the manifests that holds paths.
        hidden: take names with a dot in front too.

    Raises:
        UsageError: a manifest without the column of paths, or manifests with different columns.
        MerError: a manifest that cannot be read, or a package that a URL needs is not installed.
    """

    def __init__(
        self, arguments: Iterable[str | Path], path_column: str = "path", hidden: bool = False
    ) -> None:
        self.arguments = [os.fspath(argument) for argument in arguments]
        self._path_column, self._hidden = path_column, hidden
        self.manifests = list(filter(_is_manifest, self.arguments))
        for manifest in self.manifests:
            if hint := hint_of(manifest):
                raise MerError(f"{manifest} cannot be read: no such file{hint}")
        self.columns = manifests.columns_of_manifests(self.manifests, path_column)
        self.skipped, self.skipped_urls, self.reasons = 0, 0, dict[str, str]()
        self.skipped_suffixes, self._albums = Counter[str](), set[int]()
        self.check: Callable[[], None] = lambda: None
        self.limits = Limits()

    @property
    def albums(self) -> int:
        return len(self._albums)

    @property
    def private_hosts(self) -> frozenset[str]:
        """The hosts of URLs among the arguments, for ``Limits``: the user named them, and not a manifest."""
        urls = [*filter(is_remote, self.arguments)]
        if not urls:
            return frozenset()
        from ..audio.web import host_of  # with all of asyncio

        return frozenset(filter(None, map(host_of, urls)))

    def __iter__(self) -> Iterator[Source]:
        self.skipped = self.skipped_urls = 0
        self.skipped_suffixes.clear()
        self._albums.clear()
        for argument in self.arguments:
            self.check()
            yield from self._of(argument)

    def songs_below(self, url: str) -> Iterator[str]:
        """The identities of the songs below a URL, none where it is not there.

        Raises:
            MerError: it, or a folder below it, cannot be listed now.
        """
        listed = Sources([f"{url.rstrip('/')}/"], hidden=True)
        listed.check, listed.limits = self.check, self.limits
        if self.limits.private_hosts is not None:  # the user named this one too
            hosts = self.limits.private_hosts | listed.private_hosts
            listed.limits = replace(self.limits, private_hosts=hosts)
        found = [text_from_path(RealPaths().of(source.path)) for source in listed]
        for place, reason in listed.reasons.items():
            if reason != NO_FOLDER:
                raise MerError(
                    f"{place} cannot be listed now, so that nothing below it is forgotten: {reason}"
                )
        yield from (identity for identity in found if identity not in listed.reasons)

    def _of(self, argument: str) -> Iterator[Source]:
        if is_remote(argument):
            from .remote_listing import sources_from_url

            yield from sources_from_url(
                argument, self._skip, self.check, self._hidden, self.limits, self._keep_reason
            )
        elif os.path.isdir(argument):
            yield from map(source_from_path, self._walk().audio(argument))
        elif _is_manifest(argument):
            yield from manifests.sources_from_manifest(argument, self._path_column, self.check, self.columns)
        elif is_pattern(argument):
            yield from self._matching(argument)
        elif _suffix(argument) in playlists.SUFFIXES and os.path.exists(argument):
            yield from playlists.sources_from_playlist(argument, self._skip_url, self.check)
        else:
            yield source_from_path(argument)

    def _matching(self, text: str) -> Iterator[Source]:
        folder, pattern = pattern_below(text)
        skipped, is_empty, walk = self.skipped, True, self._walk()
        for path in walk.audio(folder, pattern) if os.path.isdir(folder or os.curdir) else ():
            is_empty = False
            yield source_from_path(path)
        if is_empty and self.skipped - skipped == walk.folders_left_out:  # no file matches
            yield source_from_path(text)  # its row says that there is none

    def _walk(self) -> Walk:
        return Walk(self._skip_local, self.check, self._hidden, self._keep_reason)

    def _keep_reason(self, place: str, reason: str) -> None:
        self.reasons[text_from_path(RealPaths().of(place))] = reason

    def _skip(self, path: str) -> None:
        self.skipped += 1
        suffix, known = _suffix(path), self.skipped_suffixes
        is_one = 1 < len(suffix) <= _LONGEST_SUFFIX and " " not in suffix
        if is_one and (suffix in known or len(known) < _MOST_SUFFIXES):
            known[suffix] += 1

    def _skip_local(self, path: str) -> None:
        self._skip(path)
        if _suffix(path) == ".cue" and (album := album_of_cue(path)):
            self._albums.add(hash(album))  # two sheets of one file are common

    def _skip_url(self) -> None:
        self.skipped, self.skipped_urls = self.skipped + 1, self.skipped_urls + 1


def inputs_from_paths(paths: Iterable[str | Path]) -> Inputs:
    """The paths of ``Sources(paths)`` in memory, for short lists."""
    sources = Sources(paths)
    expanded = tuple(source.path for source in sources)
    return Inputs(expanded, sources.skipped)


def words_of_skipped(count: int, suffixes: Counter[str]) -> str:
    """How many files were left out, for people, with the suffixes of the most."""
    first = [for_terminal(suffix) for suffix, _ in suffixes.most_common(_SUFFIXES_SHOWN)]
    more = ["..."] if len(suffixes) > len(first) else []
    files = "file" if count == 1 else "files"
    return f"{count} other {files} skipped" + (f" ({', '.join(first + more)})" if first else "")


def _is_manifest(path: str) -> bool:
    is_table = _suffix(path) in manifests.SUFFIXES and not is_remote(path)
    return is_table and not os.path.isdir(path) and not is_pattern(path)


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()
