"""Values of tags: trimmed, new, and not too many; and the text in their bytes."""

from __future__ import annotations

import pytest
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


@pytest.mark.parametrize(
    "text",
    [
        "Кино",
        "Ария",
        "ДДТ",
        "Ёлка",
        "Моё сердце",
        "Группа крови (Live) — Ленинград, 1990",
        "Би-2 feat. «Чиж & Co»",
        "БРАВО",
        "Океан Ельзи",
        "Її ім'я: Україна",
        "Щербаков; Ъпсурт",
    ],
)
def test_cyrillic_in_one_byte_a_letter(text: str) -> None:
    assert text_from_bytes(text.encode("cp1251")) == text


@pytest.mark.parametrize(
    "text",
    [
        "ÉTÉ",
        "Été",
        "À l'été où j'étais là",
        "Où ça ? ÇA !",
        "ÉLÉVÉ À NOËL",
        "Die Ärzte",
        "ÄÖÜ",
        "ÅÄÖ",
        "æøå",
        "ÖÖÖ",
        "Übermäßig süß",
        "São João, ações e emoções",
        "Ólöf Arnalds: Við og við",
        "Sigur Rós — Ágætis byrjun; Ævin Óð",
        "Þú ert; áður óþægð",
        "Hoppípolla, Ó",
        "Ñandú ÑÑÑ",
        "¿Qué? ¡Olé!",
        "Øya",
        "Motörhead/Blue Öyster Cult",
    ],
)
def test_western_words_are_no_cyrillic(text: str) -> None:
    assert text_from_bytes(text.encode("cp1252")) == text


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ("Ay \u0131ş\u0131ğ\u0131", "cp1254"),
        ("Üçü üşüdü", "cp1254"),
        ("Şağ\u0131 ç\u0131ğ\u0131", "cp1254"),
        ("αγάπη μου", "cp1253"),
        ("żółć", "cp1250"),
        ("邓丽君", "gbk"),
        ("月亮代表我的心", "gbk"),
        ("Кино", "koi8-r"),
        ("사랑", "cp949"),
    ],
)
def test_other_code_pages_are_read_as_western(text: str, codec: str) -> None:
    assert text_from_bytes(text.encode(codec)) == text.encode(codec).decode("cp1252")
