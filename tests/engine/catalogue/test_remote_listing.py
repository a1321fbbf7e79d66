"""Songs behind URLs, listed."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from http_folder import Answers, answered_by, served
from merkit.engine.audio import web
from merkit.engine.audio.decoder import Limits
from merkit.engine.catalogue import remote_listing
from merkit.engine.catalogue.expand import Sources
from merkit.engine.errors import MerError
from merkit.engine.signals import StoppedError


@pytest.fixture
def any_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for s3 and gs: fsspec's storage in memory, whose URLs are refused otherwise."""
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setattr(remote_listing, "open_filesystem", lambda url, limits: fsspec.core.url_to_fs(url))


def test_urls(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    (tmp_path / "sub").mkdir()
    for name in ("b.wav", "sub/a.wav", "notes.txt"):
        (tmp_path / name).write_bytes(b"12345")
    with served(tmp_path) as root:
        sources = Sources([f"{root}/"])
        assert [source.path for source in sources] == [f"{root}/b.wav", f"{root}/sub/a.wav"]
        assert sources.skipped == 1


def test_folders_are_asked_for_as_their_links_are_written() -> None:
    class Asked(Answers):
        def do_GET(self) -> None:
            asked.append(self.path)
            self._answer(200, b"<a href=50%25%28%27x%27%29%2b/>" if self.path == "/a%27b%2B/" else b"")

    asked: list[str] = []
    with answered_by(Asked) as root:
        assert not list(Sources([f"{root}/a%27b%2B/"]))
    assert asked == ["/a%27b%2B/", "/a%27b%2B/50%25%28%27x%27%29%2b/"]


def test_a_listing_of_a_busy_server_is_asked_for_again() -> None:
    class Busy(Answers):
        def do_GET(self) -> None:
            asked.append(self.path)
            if len(asked) < 3:
                self._answer(429, b"", **{"Retry-After": "0"})
            else:
                self._answer(200, b"<a href=a.wav>")

    asked: list[str] = []
    with answered_by(Busy) as root:
        assert [source.path for source in Sources([f"{root}/m/"])] == [f"{root}/m/a.wav"]
    assert asked == ["/m/"] * 3


class Moved(Answers):
    """Two folders of songs, /new/ and /slash/, and what leads to them: /old, /old/ and /slash."""

    def do_GET(self) -> None:
        pages = {"/new/": b'<a href="R&amp;B.wav"></a><a href="it\'s.wav"></a>', "/slash/": b"<a href=c.wav>"}
        if self.path in pages:
            self._answer(200, pages[self.path])
        elif self.path in ("/old", "/old/", "/slash"):
            self._answer(302, Location="/slash/" if self.path == "/slash" else "/new/")
        else:
            super().do_GET()


def test_songs_lie_where_their_page_is_found() -> None:
    with answered_by(Moved) as root:
        for asked in ("new/", "old", "old/", f"to/{root}/old/"):
            paths = [source.path for source in Sources([f"{root}/{asked}"])]
            assert paths == [f"{root}/new/R&B.wav", f"{root}/new/it's.wav"]
        named = root.replace("://", "://u:p@")
        for asked, first in (("slash", "slash/c.wav"), ("old", "new/R&B.wav")):
            assert next(iter(Sources([f"{named}/{asked}"]))).path == f"{named}/{first}"


def test_a_listing_has_the_limits_of_the_run() -> None:
    with answered_by(Moved) as root, answered_by(Answers) as other:
        by_name = root.replace("127.0.0.1", "localhost")
        sources = Sources([f"{other}/to/{by_name}/new/"])
        assert [source.path for source in sources] == sources.arguments
        named = sources.private_hosts
        for limits in (
            Limits(private_hosts=named, allow_private=True),
            Limits(private_hosts=named | {"localhost"}),
        ):
            sources.limits = limits
            assert next(iter(sources)).path == f"{by_name}/new/R&B.wav"
        silent = Sources([f"{other}/silent"])
        silent.limits = Limits(seconds=0.5)
        began = time.monotonic()
        assert [source.path for source in silent] == silent.arguments
        assert time.monotonic() - began < 10


@pytest.mark.parametrize("url", ["ftp://host/x", "memory://x", "zip://a.wav::x.zip"])
def test_a_url_that_is_not_read_is_an_input(url: str) -> None:
    assert [source.path for source in Sources([url, "song.wav"])] == [url, "song.wav"]


@pytest.mark.parametrize("closed", ["/music", "/music/b"])
@pytest.mark.usefixtures("any_storage")
def test_a_folder_that_cannot_be_listed_is_an_input(closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left out in silence, its songs would be missing from a catalogue that looks whole."""
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for name in ("a/1.mp3", "a/x.txt", "b/2.mp3", "3.mp3"):
        memory.pipe(f"/music/{name}", b"sound")
    listed, real = Sources(["memory://music"]), type(memory).ls
    assert [source.path for source in listed] == [
        f"memory:///music/{n}" for n in ("3.mp3", "a/1.mp3", "b/2.mp3")
    ]
    assert listed.skipped == 1

    def ls(self: Any, path: str, **options: Any) -> Any:
        if path.rstrip("/") == closed:
            raise PermissionError("access denied")
        return real(self, path, **options)

    monkeypatch.setattr(type(memory), "ls", ls)
    expected = {"/music": ["memory://music"], "/music/b": ["3.mp3", "a/1.mp3", "b"]}[closed]
    sources = Sources(["memory://music"])
    listed = [source.path for source in sources]
    unlisted = {"/music": "memory://music", "/music/b": "memory:///music/b"}[closed]
    assert sources.reasons == {unlisted: "access denied"}
    assert [path.removeprefix("memory:///music/") for path in listed] == expected


@pytest.mark.usefixtures("any_storage")
def test_names_with_a_question_mark() -> None:
    """HTTP alone has questions; elsewhere it is a character of a name."""
    memory = pytest.importorskip("fsspec").filesystem("memory")
    for name in ("what?.mp3", "who #1? me/a.mp3", "b.mp3?x.txt"):
        memory.pipe(f"/asked/{name}", b"sound")
    sources = Sources(["memory://asked", "s3://asked/what?.mp3"])
    assert [source.path for source in sources] == [
        "memory:///asked/what?.mp3",
        "memory:///asked/who #1? me/a.mp3",
        "s3://asked/what?.mp3",
    ]
    assert sources.skipped == 1


@pytest.mark.usefixtures("any_storage")
def test_litter_and_objects_that_are_named(check_that_ends: Any) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for name in (
        "a.mp3",
        "._a.mp3",
        ".x/b.mp3",
        "#recycle/c.mp3",
        "__MACOSX/d.mp3",
        "e.bin",
        "@eaDir/a/f.mp3",
    ):
        memory.pipe(f"/litter/{name}", b"sound")

    def names(url: str, hidden: bool = False) -> list[str]:
        return [source.path.removeprefix("memory:///litter/") for source in Sources([url], hidden=hidden)]

    assert names("memory://litter") == ["a.mp3"]
    assert names("memory://litter", hidden=True) == ["a.mp3", ".x/b.mp3"]
    assert names("memory://litter/#recycle") == ["#recycle/c.mp3"]
    assert names("memory://litter/e.bin") == ["e.bin"]
    sources = Sources(["memory://litter"])
    assert len(list(sources)) == 1
    assert sources.skipped == 6
    sources.check = check_that_ends
    with pytest.raises(KeyboardInterrupt):
        list(sources)


@pytest.mark.parametrize(
    "name", ["song.mp3?sig=abc%2Fdef/x", "song.MP3#part", "a.flac?X-Amz-Signature=1&x=.txt", "b.ogg?a/b"]
)
def test_a_signed_url_is_a_song(name: str) -> None:
    with answered_by(Answers) as root:
        assert [source.path for source in Sources([f"{root}/{name}"])] == [f"{root}/{name}"]


def test_a_url_that_lists_nothing_is_a_song() -> None:
    with answered_by(Answers) as root:
        assert [source.path for source in Sources([f"{root}/page?id=7"])] == [f"{root}/page?id=7"]


def test_a_tree_without_end_has_a_bound_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with answered_by(Answers) as root:
        with pytest.raises(MerError, match="seems to have no end: more than 100,000 folders, or 64"):
            list(Sources([f"{root}/endless/"]))
        monkeypatch.setattr(remote_listing, "_MOST_FOLDERS", 5)
        with pytest.raises(MerError, match="more than 5 folders"):
            list(Sources([f"{root}/endless/"]))


def test_a_signal_ends_the_wait_for_a_server() -> None:
    asked: list[float] = []

    def check() -> None:
        asked.append(time.monotonic())
        if len(asked) == 4:
            raise StoppedError(130)

    with answered_by(Answers) as root:
        sources = Sources([f"{root}/silent"])
        sources.check = check
        began = time.monotonic()
        with pytest.raises(StoppedError):
            list(sources)
    assert time.monotonic() - began < 10


def test_a_page_without_end_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "_MOST_PAGE_BYTES", 99)
    with answered_by(Answers) as root:  # as a song it is copied, within its limits
        assert [source.path for source in Sources([f"{root}/page/"])] == [f"{root}/page/"]


def test_hosts_that_the_user_named() -> None:
    urls = ["http://LocalHost:80/a", "https://u:p@[::1]:9/x/", "s3://bucket/x", "music", "http://[bad/"]
    assert Sources(urls).private_hosts == {"localhost", "::1", "bucket"}


@pytest.fixture
def check_that_ends() -> Any:
    seen: list[None] = []

    def check() -> None:
        seen.append(None)
        if len(seen) == 3:
            raise KeyboardInterrupt

    return check


def test_folders_count_when_they_are_named_not_when_they_are_searched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    class Wide:
        def ls(self, folder: str, detail: bool) -> list[dict[str, str]]:
            asked.append(folder)
            return [{"name": f"{folder}/{i}", "type": "directory"} for i in range(1_000)]

    monkeypatch.setattr(remote_listing, "open_filesystem", lambda url, limits: (Wide(), "root"))
    monkeypatch.setattr(remote_listing, "_MOST_FOLDERS", 2_500)
    with pytest.raises(MerError, match="more than 2,500 folders"):
        list(remote_listing.sources_from_url("s3://wide/", lambda _: None))
    assert len(asked) == 3


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="Windows")
@pytest.mark.parametrize(
    "said",
    [
        datetime(2026, 1, 1),
        datetime(2026, 1, 1, tzinfo=UTC),
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00Z",
        "2026-01-01T02:00:00+02:00",
        1767225600,
    ],
)
def test_a_time_without_a_zone_is_the_same_everywhere(said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or each song would be labelled again where another machine, or summer, has other hours."""
    try:
        for zone in ("UTC", "Asia/Kolkata", "XXX-5:30"):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            info = {"mtime": "of a kind of its own", "LastModified": said}
            assert remote_listing._changed_ns(info) == 1767225600 * 10**9
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(("changed", "skipped"), [({}, 2), ({"LastModified": datetime(2026, 1, 1)}, 0)])
def test_keys_with_an_empty_name_in_them_are_counted(
    changed: dict[str, Any], skipped: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object that marks the folder, as consoles make it, is none."""

    class Keys:
        def ls(self, folder: str, detail: bool) -> list[dict[str, Any]]:
            entries = [{"name": f"{folder}/", "type": "directory", **changed}]
            if folder == "bkt":
                entries.append({"name": "bkt/x", "type": "directory"})
            return [*entries, {"name": f"{folder}/a.wav", "type": "file"}]

        def unstrip_protocol(self, path: str) -> str:
            return f"s3://{path}"

    monkeypatch.setattr(remote_listing, "open_filesystem", lambda url, limits: (Keys(), "bkt"))
    sources = Sources(["s3://bkt/"])
    assert [source.path for source in sources] == ["s3://bkt/a.wav", "s3://bkt/x/a.wav"]
    assert sources.skipped == skipped
