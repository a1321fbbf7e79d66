"""Folders with links, circles and litter."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.audio.formats import open_regular_file
from merkit.engine.catalogue.expand import Sources
from merkit.engine.catalogue.walk import Walk
from merkit.engine.errors import UnreadableError


def nothing(*_: str) -> None:
    pass


def walked(folder: Path | str, hidden: bool = False, skip: Callable[[str], None] = nothing) -> list[str]:
    paths = list(Walk(skip, nothing, hidden).audio(str(folder)))
    return [os.path.relpath(path, folder) for path in paths]


def song(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"sound")
    return path


def test_order_is_files_then_folders_then_links(tmp_path: Path) -> None:
    for name in ("m/b/2.mp3", "m/c.mp3", "m/a.b/3.mp3", "m/a/4.mp3", "other/5.mp3"):
        song(tmp_path / name)
    (tmp_path / "m/0").symlink_to(tmp_path / "other")
    assert walked(tmp_path / "m") == ["c.mp3", "a/4.mp3", "a.b/3.mp3", "b/2.mp3", "0/5.mp3"]
    assert next(Walk(nothing, nothing, False).audio(f"{tmp_path}/m/")) == f"{tmp_path}/m/c.mp3"


def test_the_current_folder_has_no_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    song(tmp_path / "a/1.mp3")
    monkeypatch.chdir(tmp_path)
    assert list(Walk(nothing, nothing, False).audio("")) == ["a/1.mp3"]
    assert list(Walk(nothing, nothing, False).audio(".")) == ["./a/1.mp3"]


def test_links_lead_nowhere_twice(tmp_path: Path) -> None:
    m = tmp_path / "m"
    song(m / "zreal/1.mp3")
    song(tmp_path / "other/sub/2.mp3")
    before = walked(m)
    (m / "alink").symlink_to("zreal")
    (m / "self").symlink_to(".")
    (m / "zreal/up").symlink_to("..")
    (m / "above").symlink_to(m)
    (m / "a.mp3").symlink_to("zreal/1.mp3")
    assert walked(m) == before == ["zreal/1.mp3"]
    (m / "b").symlink_to(tmp_path / "other/sub")
    (m / "c").symlink_to(tmp_path / "other")
    song(tmp_path / "other/3.mp3")
    (tmp_path / "other/back").symlink_to(m)
    assert walked(m) == ["zreal/1.mp3", "b/2.mp3", "c/3.mp3"]


def test_links_to_files(tmp_path: Path) -> None:
    m = tmp_path / "m"
    song(m / "store/0a1b")  # without a suffix, so the link is the only way
    song(m / ".annex/c.mp3")
    m.joinpath("a.mp3").symlink_to("store/0a1b")
    m.joinpath("b.mp3").symlink_to(".annex/c.mp3")
    m.joinpath("gone.mp3").symlink_to("nowhere.mp3")
    m.joinpath("circle.mp3").symlink_to("circle2.mp3")
    m.joinpath("circle2.mp3").symlink_to("circle.mp3")
    assert walked(m) == ["a.mp3", "b.mp3", "circle.mp3", "circle2.mp3", "gone.mp3"]


# Folder 0 is searched; those from 100 on are outside of it.
_places = st.sampled_from(["m", "m/a", "m/a/b", "m/c", "out", "out/d", "out/d/e", "out/f"])
_links = st.lists(st.tuples(_places, st.sampled_from("pqrs"), _places, st.booleans()), max_size=8)


@given(_links)
def test_every_graph_of_links_ends_and_gives_each_file_once(
    links: list[tuple[str, str, str, bool]],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        for place in ("m", "m/a/b", "m/c", "out/d/e", "out/f", "m/a", "out/d", "out"):
            song(root / place / "1.mp3")
        for place, link, target, to_file in links:
            path = root / place / (f"{link}.mp3" if to_file else link)
            if not path.is_symlink() and not (to_file and target.startswith("out")):
                path.symlink_to(root / target / ("1.mp3" if to_file else ""))
        real = [os.path.realpath(root / "m" / path) for path in walked(root / "m")]
        assert sorted(real) == sorted(_reachable(str(root / "m")))


def _reachable(folder: str) -> set[str]:
    waiting, seen, files = [folder], set(), set()
    while waiting:
        if (real := os.path.realpath(waiting.pop())) in seen:
            continue
        seen.add(real)
        paths = [os.path.join(real, name) for name in os.listdir(real)]
        waiting += filter(os.path.isdir, paths)
        files |= {os.path.realpath(path) for path in paths if os.path.isfile(path)}
    return files


@pytest.fixture
def status_of(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, int]]:
    """The device and inode that os.stat says for folders of a name."""
    given: dict[str, tuple[int, int]] = {}
    real = os.stat

    def stat(path: Any, *arguments: Any, **options: Any) -> Any:
        status = real(path, *arguments, **options)
        if isinstance(path, str) and (same := given.get(os.path.basename(path))):
            return os.stat_result((status.st_mode, same[1], same[0], *status[3:]))
        return status

    monkeypatch.setattr(os, "stat", stat)
    return given


def test_equal_inodes_of_mounts_are_no_loop(tmp_path: Path, status_of: dict[str, tuple[int, int]]) -> None:
    """Below one virtiofs or 9p export each file system's root has the inode that it has on the host."""
    for name in ("pool/disk1/1.mp3", "pool/disk2/2.mp3", "pool/disk2/disk3/3.mp3"):
        song(tmp_path / name)
    status_of |= dict.fromkeys(("pool", "disk1", "disk2", "disk3"), (34, 99))
    assert walked(tmp_path / "pool") == ["disk1/1.mp3", "disk2/2.mp3", "disk2/disk3/3.mp3"]


def test_a_folder_that_is_its_own_ancestor_is_a_loop(
    tmp_path: Path, status_of: dict[str, tuple[int, int]]
) -> None:
    for name in ("pool/1.mp3", "pool/a/2.mp3", "pool/z/3.mp3"):
        song(tmp_path / name)
        song(tmp_path / "pool/a/bound" / Path(name).relative_to("pool"))
    status_of |= dict.fromkeys(("pool", "bound"), (34, 99))
    assert walked(tmp_path / "pool") == ["1.mp3", "a/2.mp3", "z/3.mp3"]


def test_litter_is_skipped_and_counted(tmp_path: Path) -> None:
    m = tmp_path / "m"
    text = (
        "._a.mp3 .AppleDouble/a.mp3 @eaDir/a.mp3 #recycle/a.mp3 $RECYCLE.BIN/a.mp3 .Trash-1000/files/a.mp3 "
        ".Trashes/a.mp3 .stversions/a.mp3 .snapshots/1/a.mp3 .snapshot/a.mp3 .zfs/a.mp3 __MACOSX/a.mp3 "
        "lost+found/a.mp3 #Recycle/a.mp3"
    )
    litter = [*text.split(), "System Volume Information/a.mp3"]
    for name in litter:
        song(m / name)
    for name in ("a.mp3", "...And Justice/One.mp3", ".hidden.mp3", ".album/2.mp3", "cover.jpg", ".DS_Store"):
        song(m / name)
    skipped: list[str] = []
    assert walked(m, skip=skipped.append) == ["a.mp3", "...And Justice/One.mp3"]
    assert len(skipped) == len(litter) + 4
    assert [path for path in skipped if path] == [str(m / "cover.jpg")]  # the others' suffixes say nothing
    assert walked(m, hidden=True) == [".hidden.mp3", "a.mp3", "...And Justice/One.mp3", ".album/2.mp3"]
    assert walked(m / "#recycle") == walked(m / ".snapshots/1") == ["a.mp3"]  # named, so it is meant


def test_what_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/1.mp3", "b/2.mp3", "b/x/3.mp3", "c/4.mp3"):
        song(tmp_path / name)
    real = os.scandir

    class Broken:
        def __init__(self, path: str) -> None:
            self._listing = real(path)

        def __enter__(self) -> Broken:
            return self

        def __exit__(self, *_: object) -> None:
            self._listing.close()

        def __iter__(self) -> Iterator[Any]:
            yield from self._listing
            raise OSError(errno.EIO, "Input/output error")

    def scandir(path: Any) -> Any:
        if os.path.basename(path) == "a":
            raise OSError(errno.ESTALE, "Stale file handle", path)
        return Broken(path) if os.path.basename(path) == "b" else real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert walked(tmp_path) == ["a", "b/2.mp3", "b", "b/x/3.mp3", "c/4.mp3"]


def test_deep_folders(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Deeper than Python's stack, and than the longest path: what the system refuses is named."""
    request.addfinalizer(partial(subprocess.run, ["rm", "-rf", str(tmp_path / "d")], check=True))
    folder = os.open(tmp_path, os.O_RDONLY)
    for _ in range(2_060):
        os.mkdir("d", dir_fd=folder)
        inner = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)
    song(tmp_path / "d/d/1.mp3")
    paths = walked(tmp_path)
    assert paths[0] == "d/d/1.mp3"
    assert len(paths) == 2
    assert len(paths[1]) > 3_900


def test_the_walk_ends_at_once(tmp_path: Path) -> None:
    for i in range(20):
        song(tmp_path / f"{i:02}.txt")
    entries: list[None] = []

    def check() -> None:
        entries.append(None)
        if len(entries) == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(Walk(nothing, check, False).audio(str(tmp_path)))
    assert len(entries) == 7


def test_folders_beyond_the_longest_path_are_not_missing_in_silence(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    for number in range(25):  # 5,000 bytes: only from folder to folder they can be made
        os.mkdir("d" * 200, dir_fd=folder)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
        os.close(os.open(f"{number}.mp3", os.O_CREAT, dir_fd=folder))
    os.close(folder)
    for argument in (tmp_path, tmp_path / "**/*.mp3", tmp_path / "d*"):
        sources = list(Sources([argument]))
        seen = [source for source in sources if source.size_bytes is not None]
        unseen = [source for source in sources if source.size_bytes is None]
        assert [os.path.basename(source.path) for source in seen] == [f"{n}.mp3" for n in range(len(seen))]
        assert 15 < len(seen) < 25
        assert unseen
        for source in unseen:
            with pytest.raises(UnreadableError, match="cannot be opened: File name too long"):
                open_regular_file(source.path)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOTCONN, errno.ESTALE])
def test_why_a_folder_cannot_be_listed(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a disk that fails: it opens, and "not a regular file" would be said of it."""
    song(tmp_path / "music/a.mp3")
    song(tmp_path / "music/bad/b.mp3")
    monkeypatch.chdir(tmp_path)
    real = os.scandir

    def scandir(path: str) -> Any:
        if os.path.basename(path) == "bad":
            raise OSError(code, os.strerror(code))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    for argument in ("music", "music/*", f"{tmp_path}/music/"):
        sources = Sources([argument])
        assert [os.path.basename(source.path) for source in sources] == ["a.mp3", "bad"]
        assert sources.reasons == {os.path.realpath("music/bad"): os.strerror(code)}


@pytest.mark.parametrize(("name", "place"), [("a.mp3", 1), ("a", 2), ("a.txt", 2)])
@pytest.mark.parametrize("by", ["is_symlink", "is_dir"])
def test_an_entry_that_cannot_be_looked_at_hides_no_other(
    by: str, name: str, place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad inode, where the listing does not tell what its entries are."""
    for other in ("0.mp3", name, "b.mp3"):
        song(tmp_path / other)
    real = os.scandir

    def look(entry: os.DirEntry[str], method: str) -> bool:
        if (entry.name, method) == (name, by):
            raise OSError(errno.EIO, "Input/output error")
        return getattr(entry, method)()

    class Entry:
        def __init__(self, entry: os.DirEntry[str]) -> None:
            self.name = entry.name
            self.is_symlink, self.is_dir = partial(look, entry, "is_symlink"), partial(look, entry, "is_dir")

    @contextmanager
    def scandir(path: str) -> Iterator[Iterator[Entry]]:
        with real(path) as entries:
            yield map(Entry, entries)

    monkeypatch.setattr(os, "scandir", scandir)
    expected = ["0.mp3", "b.mp3"]
    expected.insert(place, name)
    assert walked(tmp_path) == expected


@pytest.mark.parametrize("is_link", [False, True])
def test_what_cannot_be_looked_at_is_an_input(
    is_link: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link into a closed folder, for example: its songs would be missing from a list that looks whole."""
    music, closed = tmp_path / "music", tmp_path / "music/closed"
    music.mkdir()
    (music / "a.mp3").touch()
    (tmp_path / "elsewhere").mkdir()
    if is_link:
        closed.symlink_to(tmp_path / "elsewhere")
    else:
        closed.mkdir()
    real = os.scandir

    class Entry:
        def __init__(self, entry: os.DirEntry[str]) -> None:
            self.name = entry.name

        def is_symlink(self) -> bool:
            return is_link

        def is_dir(self) -> bool:
            if self.name == "closed":
                raise PermissionError(errno.EACCES, "Permission denied")
            return False

    @contextmanager
    def scandir(path: str) -> Iterator[Iterator[Entry]]:
        if os.path.basename(path) == "closed":
            raise PermissionError(errno.EACCES, "Permission denied")
        with real(path) as entries:
            yield map(Entry, entries)

    monkeypatch.setattr(os, "scandir", scandir)
    assert [source.path for source in Sources([music])] == [str(music / "a.mp3"), str(closed)]
