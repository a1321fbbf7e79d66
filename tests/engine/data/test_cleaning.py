"""The same name in other spellings."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.data.cleaning import as_spelt, cleaned, comparison_key, part_from_name


@pytest.mark.parametrize(
    ("text", "clean"),
    [(" a  b\t", "a b"), ("a\u00a0b", "a b"), ("e\u0301", "\u00e9"), ("Ann", "Ann"), ("प्यार ", "प्यार")],
)
def test_cleaned(text: str, clean: str):
    assert cleaned(text) == clean


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ann", "ann "),
        ("STRASSE", "straße"),
        ("e\u0301", "É"),
        ("\uff48appy", "happy"),
        ("\ufeffhappy", "happy"),
        ("hap\u200bpy", "happy"),
        ("a  b", "A\u3000B"),
    ],
)
def test_a_reader_takes_them_for_one(one: str, other: str):
    assert comparison_key(one) == comparison_key(other)


@pytest.mark.parametrize(("one", "other"), [("happy", "happy2"), ("happy", "hap py"), ("é", "e"), ("", "a")])
def test_a_reader_tells_them_apart(one: str, other: str):
    assert comparison_key(one) != comparison_key(other)


@given(st.text(max_size=12))
def test_cleaning_twice_is_cleaning_once(text: str):
    assert cleaned(cleaned(text)) == cleaned(text)
    key = comparison_key(text)
    for form in ("NFC", "NFD", "NFKC"):
        assert comparison_key(unicodedata.normalize(form, f" {text}\n")) == key


@pytest.mark.parametrize(
    ("names", "part"),
    [
        ("train Train TRAINING training", "training"),
        ("val valid validation Validation dev", "validation"),
        ("test Testing eval evaluation", "test"),
        ("happy trained tests unlabelled", ""),
    ],
)
def test_parts_of_a_split(names: str, part: str):
    assert {part_from_name(name) for name in names.split()} == {part}
    assert part_from_name("") == ""


def test_a_label_as_a_model_spells_it():
    labels = ("Happy", "sad", "happy ")
    assert [as_spelt(text, labels) for text in ("happy ", "HAPPY", "Sad", "calm")] == [
        "happy ", "Happy", "sad", None,
    ]  # fmt: skip
