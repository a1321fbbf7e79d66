"""The page as a file: whole, its own, unharmed by hostile names."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from label_folders import row_of, write_labels
from merkit.engine.errors import MerError, UsageError
from merkit.engine.outputs.page.html import write_page

_HOSTILE = """</script><script>document.title="owned"</script><img src=x onerror=alert(1)>'"&@@DATA@@"""


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.contents: dict[str, list[str]] = {}
        self._last = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._last = tag

    def handle_data(self, data: str) -> None:
        self.contents.setdefault(self._last, []).append(data)


def page_of(tmp_path: Path, heading: str = "labels", **tags: Any) -> str:
    (tmp_path / "a.mp3").write_bytes(b"x")
    labels = write_labels(tmp_path / "labels", [row_of(tmp_path / "a.mp3", **tags)])
    page = tmp_path / "catalogue.html"
    write_page(labels, page, heading)
    return page.read_text(encoding="utf-8")


def test_nothing_comes_from_elsewhere(tmp_path: Path) -> None:
    text = page_of(tmp_path)
    assert not re.search(
        r"\bsrc=|href=|@import|url\(|https?://|\bfetch\(|XMLHttpRequest|innerHTML|\beval\b", text
    )
    page = _Page(text)
    (policy,) = [attributes["content"] or "" for tag, attributes in page.elements if tag == "meta" and
                 attributes.get("http-equiv") == "Content-Security-Policy"]  # fmt: skip
    scripts = [attributes for tag, attributes in page.elements if tag == "script"]
    assert [each.get("type") for each in scripts] == ["text/plain", None]
    for kind in ("script", "style"):
        content = re.findall(rf"<{kind}>(.*?)</{kind}>", text, re.S)[0]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    clean = [tag for tag, _ in _Page(page_of(tmp_path)).elements]
    (tmp_path / "bad").mkdir()
    text = page_of(tmp_path / "bad", _HOSTILE, title=_HOSTILE, artist=_HOSTILE, album=_HOSTILE)
    page = _Page(text)
    assert [tag for tag, _ in page.elements] == clean
    assert page.contents["title"][0] == _HOSTILE == page.contents["h1"][0]


def test_every_control_has_a_name(tmp_path: Path) -> None:
    """For screen readers; what the script makes is looked at in the browser."""
    text = page_of(tmp_path)
    named = re.findall(r"<label[^>]*>.*?</label>", text, re.S)
    for tag, attributes in _Page(text).elements:
        if tag in ("input", "select"):
            name = attributes["id"]
            is_inside = any(f'id="{name}"' in label for label in named)
            assert attributes.get("aria-label") or is_inside or f'for="{name}"' in text


def test_no_song_is_there(tmp_path: Path) -> None:
    labels = write_labels(tmp_path / "labels", [row_of(tmp_path / "gone.mp3")])
    with pytest.raises(MerError, match="none of its 1 songs is there now"):
        write_page(labels, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
    assert write_page(labels, tmp_path / "page.html", keep_missing=True).songs == 1


def test_a_disk_that_is_away_replaces_no_page_by_one_of_its_errors(tmp_path: Path) -> None:
    music = tmp_path / "disk"
    rows = [
        row_of(music / "a.mp3"),
        row_of(music / "b.mp3", None, error="bad", real_path=str(music / "b.mp3")),
    ]
    labels = write_labels(tmp_path / "labels", rows)
    with pytest.raises(MerError, match="none of its 1 songs is there now"):
        write_page(labels, tmp_path / "page.html")
    assert write_page(labels, tmp_path / "page.html", keep_missing=True).songs == 2
    music.mkdir()
    (music / "a.mp3").write_bytes(b"x")
    assert write_page(labels, tmp_path / "page.html").songs == 1


def test_errors_whose_files_are_there_have_a_page_whatever_else_is_gone(tmp_path: Path) -> None:
    rows = [row_of(tmp_path / name, None, error="bad") for name in ("a.mp3", "b.mp3")]
    labels = write_labels(tmp_path / "labels", [*rows, row_of(tmp_path / "gone.mp3")])
    (tmp_path / "a.mp3").write_bytes(b"x")
    page = write_page(labels, tmp_path / "page.html")
    assert (page.songs, page.missing) == (1, 2)
    assert write_page(labels, tmp_path / "page.html", keep_missing=True).songs == 3


def test_a_page_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(b"x")
    labels = write_labels(tmp_path / "labels", [row_of(tmp_path / "a.mp3")])
    with pytest.raises(UsageError, match=r"page.html: there is no folder .*missing$"):
        write_page(labels, tmp_path / "missing" / "page.html")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(UsageError, match=r"folder.html is a folder; name a file"):
        write_page(labels, tmp_path / "folder.html")
