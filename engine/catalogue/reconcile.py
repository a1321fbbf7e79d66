"""What becomes of a row when its file is looked at again. docs/CATALOGUE.md has these rules as a table.

- One file is one row. A file is its real path (a URL is itself), wherever links lead today.
- Absent is not changed: a good row goes only with ``--prune``, and only if its file is gone from a folder
  that can be listed; or with ``--forget``, if it is what is named or below that.
- A file that could not be seen or read is tried again by itself; one that was read and is bad only with
  ``--retry-errors``.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

from ..audio.formats import is_remote
from ..errors import MerError
from ..text.escape import path_from_text, storable, text_from_path
from .capitals import Spelling
from .source import Source, is_same_time, real_path_of, source_from_path

UNREADABLE, AUDIO = "unreadable", "audio"
"""Errors in rows: the file was not there or could not be read; it was read and is no usable audio."""

_FOLDERS = 4_096  # whose real paths are remembered
# What programs that keep files on a server put in the place of one whose room they freed.
_STAND_INS = ("{}.nextcloud", "{}.owncloud", ".{}.icloud")
_OLD_UNREADABLE = ("no such file", "cannot be opened: ", "cannot be fetched: ")  # of rows without a kind


@dataclass(frozen=True)
class Row:
    """What a row says of its file; ``real_path`` and ``ctime_ns`` are None in older rows."""

    path: str
    real_path: str | None
    size_bytes: int | None
    mtime_ns: int | None
    ctime_ns: int | None
    ok: bool
    unreadable: bool


class Step(Enum):
    """What to do about a row's file."""

    KEEP = "the row stays"
    ABSENT = "a good row stays, though its file cannot be seen now"
    LABEL = "label the file; the row stays until there is another"
    TAGS = "read the file's tags anew; label it if it is another song, or if nothing tells"


def step(row: Row, now: Source, retry_errors: bool = False) -> Step:
    """What to do about a row's file, as it is now."""
    if is_absent(now):
        if row.ok:
            return Step.ABSENT
        return Step.LABEL if retry_errors else Step.KEEP
    touched = None not in (row.ctime_ns, now.ctime_ns) and row.ctime_ns != now.ctime_ns
    if not row.ok:
        again = retry_errors or row.unreadable or touched or has_changed(row, now)
        return Step.LABEL if again else Step.KEEP
    if has_changed(row, now):
        return Step.LABEL
    return Step.TAGS if touched else Step.KEEP


def is_absent(now: Source) -> bool:
    """Whether no file can be seen: it, its share or a permission is away. URLs are not looked at."""
    return now.size_bytes is None and not is_remote(now.path)


def has_changed(row: Row, now: Source) -> bool:
    """Whether a file has another size or time. What a listing does not say of a URL has not changed.

    What it says is new where the row has nothing: the object may be another than the one that was labelled.
    """
    if is_remote(now.path):
        pairs = ((row.size_bytes, now.size_bytes), (row.mtime_ns, now.mtime_ns))
        return any(after is not None and before != after for before, after in pairs)
    return row.size_bytes != now.size_bytes or not is_same_time(row.mtime_ns, now.mtime_ns)


def song_from_tags(tags: Mapping[str, Any]) -> str:
    """Which song a row, or the tags of a file, say that it is; for comparisons."""
    return json.dumps([storable(tags.get(name) or "") for name in ("artist", "title")])


def row_from_record(record: Mapping[str, Any]) -> Row:
    """The facts of a row as shards hold it. One without a kind of error is judged by its message."""
    ok, kind, size = record["status"] == "ok", record.get("error_kind"), record["size_bytes"]
    if kind is None and not ok:
        unseen = size is None and not is_remote(record["path"])
        kind = UNREADABLE if unseen or (record["error"] or "").startswith(_OLD_UNREADABLE) else AUDIO
    return Row(
        record["path"], record.get("real_path"), size, record["mtime_ns"], record.get("ctime_ns"),
        ok, kind == UNREADABLE,
    )  # fmt: skip


class RealPaths:
    """Where paths lead, as folders list their names; remembers folders, so use it for one run only."""

    def __init__(self) -> None:
        self._spelling = Spelling()
        self._folder = lru_cache(_FOLDERS)(lambda folder: self._spelling.of(real_path_of(folder)))

    def of(self, path: str, is_link: bool | None = None) -> str:
        """The identity of a file, also of one that is absent.

        A URL is its own, without a slash at the end, a fragment of http or capitals in its scheme.

        Args:
            is_link: whether ``path`` itself is a link; None to look.
        """
        if not path or is_remote(path):
            bare = _plain_url(path).rstrip("/")
            return bare if is_remote(bare) else path
        folder, name = os.path.split(path)
        try:
            if name in ("", ".", "..") or (os.path.islink(path) if is_link is None else is_link):
                return self._spelling.of(real_path_of(path))
            return self._spelling.in_folder(self._folder(folder or "."), name)
        except ValueError:  # a null character in the path
            return path


def _plain_url(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    # In the names of other storages "#" is a character like others.
    rest = rest.partition("#")[0] if scheme in ("http", "https") else rest
    return f"{scheme}{separator}{rest}"


class Forgotten:
    """Places at and below which a file that is not there is gone, whether they are there or not.

    Args:
        places: paths and URLs.
        below: the identities of the songs that are below a URL now.
    """

    def __init__(
        self, places: Iterable[str] = (), below: Callable[[str], Iterable[str]] = lambda url: ()
    ) -> None:
        places = list(places)
        self._paths = {RealPaths().of(place) for place in places if not is_remote(place)}
        self._folders = tuple(os.path.join(path, "") for path in self._paths if path)  # "" begins them all
        self._urls: dict[str, set[str] | MerError] = {}
        for place in filter(is_remote, places):
            try:
                songs: set[str] | MerError = set(below(place))
            except MerError as error:  # it may only be an error that is to go
                songs = error
            self._urls[text_from_path(RealPaths().of(place))] = songs

    def has(self, text: str, ok: bool) -> bool:
        """Whether a file is one of those, by the text that rows have for it.

        Args:
            ok: its row is a good one: of a URL itself nobody can say that it is gone.

        Raises:
            MerError: it is below a URL that cannot be listed.
        """
        if is_remote(text):
            return (not ok and text in self._urls) or any(
                text.startswith(f"{url}/") and text not in _listed(songs) for url, songs in self._urls.items()
            )
        paths = tuple(paths_from_text(text)) if self._paths else ()
        meant = any(path in self._paths or path.startswith(self._folders) for path in paths)
        return meant and not any(map(os.path.lexists, paths))


def _listed(songs: set[str] | MerError) -> set[str]:
    if isinstance(songs, MerError):
        raise songs
    return songs


class Looks:
    """Looks at files by the text that rows have for them.

    It remembers the lists of the last folders, and believes one only as far as the folder agrees: its time
    does not tell all changes.
    """

    def __init__(self) -> None:
        self._list = lru_cache(8)(_list_of)

    def is_file(self, text: str) -> bool:
        """Whether a file can be seen there."""
        return any(not is_absent(source_from_path(path)) for path in paths_from_text(text))

    def is_folder(self, text: str) -> bool:
        """Whether a folder can be seen there."""
        return any(os.path.isdir(path) for path in paths_from_text(text))

    def is_gone(self, text: str) -> bool:
        """Whether a file is gone while its folder is there: the folder can be listed and does not name it.

        A folder without a visible entry may be a mount point whose share is away: nothing is gone from it.
        Nor is a file gone of which a program keeps the bytes elsewhere and a stand-in beside. What has no
        path is no file.
        """
        if not text or is_remote(text):
            return False
        return all(map(self._is_gone, paths_from_text(text)))

    def is_gone_above(self, text: str) -> bool:
        """As ``is_gone``; or the uppermost folder above the file that is not there is gone in that way."""
        folder = os.path.dirname(text)
        if folder in ("", text) or any(map(os.path.lexists, paths_from_text(folder))):
            return self.is_gone(text)
        return self.is_gone_above(folder)

    def _is_gone(self, path: str) -> bool:
        folder, name = os.path.split(path)
        stand_ins = [stand_in.format(name) for stand_in in _STAND_INS]
        if any(_is_there(os.path.join(folder, each)) for each in (name, *stand_ins)):
            return False
        try:
            names, visible = self._list(folder or ".")
            is_there = visible is not None and _is_there(os.path.join(folder, visible))
            if not (is_there and names.isdisjoint((name, *stand_ins))):  # it may be an older list
                self._list.cache_clear()
                names, visible = self._list(folder or ".")
        except OSError:
            return False
        return visible is not None and names.isdisjoint((name, *stand_ins))


def _is_there(path: str) -> bool:
    """Whether something has this name, or that cannot be known."""
    try:
        os.lstat(path)
    except OSError as error:
        return error.errno not in (errno.ENOENT, errno.ENAMETOOLONG)
    except ValueError:
        pass
    return True


def _list_of(folder: str) -> tuple[frozenset[str], str | None]:
    """The names in a folder, and one that is visible."""
    names = frozenset(os.listdir(folder))
    return names, next((name for name in names if not name.startswith(".")), None)


def paths_from_text(text: str) -> Iterator[str]:
    """The paths that rows hold as this text: bytes that are not UTF-8 stand there as ``\\xNN``."""
    yield path_from_text(text)
    encoded = text.encode("utf-8", "replace")
    raw = re.sub(rb"\\x([89a-f][0-9a-f])", lambda match: bytes.fromhex(match[1].decode()), encoded)
    if raw != encoded:
        yield os.fsdecode(raw)
