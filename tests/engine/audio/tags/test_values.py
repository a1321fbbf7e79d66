"""Values of tags: trimmed, new, and not too many; and the text in their bytes."""

from __future__ import annotations

from merkit.engine.audio.tags.values import MOST_VALUES, Tags, add, text_from_bytes


def test_values() -> None:
    tags: Tags = {}
    add(tags, "artist", " a\0", "", "\ufeffb ", "a", "\0\0")
    add(tags, "title")
    add(tags, None, "x")
    assert tags == {"artist": ["a", "b"]}
    add(tags, "artist", *(f"{i}" for i in range(1_000)))
    assert len(tags["artist"]) == MOST_VALUES


def test_text_from_bytes_of_any_code_page() -> None:
    for text, codec in (("残酷な天使のテーゼ", "cp932"), ("高橋洋子", "cp932"), ("Déjà Vu “A”", "cp1252")):
        data = text.encode(codec)
        assert text_from_bytes(data) == text
        assert text_from_bytes(text.encode()) == text
    assert text_from_bytes("残酷な天使".encode("cp932")[:-1]) == "残酷な天"
    assert text_from_bytes(b"a\x81\xff") == "a\x81\xff"
