"""Songs behind URLs, listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from http_folder import served
from merkit.engine.catalogue.expand import Sources
from merkit.engine.errors import MerError


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
def test_a_url_that_cannot_be_listed_ends_the_run(closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
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
    with pytest.raises(MerError, match=r"memory://music cannot be listed: access denied"):
        list(Sources(["memory://music"]))
