"""Songs behind URLs, listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from http_folder import served
from merkit.engine.catalogue.expand import Sources


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


@pytest.mark.parametrize("closed", ["/music", "/music/b"])
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
    listed = [source.path for source in Sources(["memory://music"])]
    assert [path.removeprefix("memory:///music/") for path in listed] == expected


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


@pytest.fixture
def check_that_ends() -> Any:
    seen: list[None] = []

    def check() -> None:
        seen.append(None)
        if len(seen) == 3:
            raise KeyboardInterrupt

    return check
