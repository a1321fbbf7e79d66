"""The same name in other spellings."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.data.cleaning import (
    as_spelt,
    cleaned,
    comparison_key,
    labels_from_list,
    part_from_name,
    quoted_label,
)
from merkit.engine.errors import UsageError


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


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("tense, calm ", ["tense", "calm"]),
        ('"happy, ""very""",tense', ['happy, "very"', "tense"]),
        (' a , "b,c"', ["a", "b,c"]),
        ('5" tape,b', ['5" tape', "b"]),
        ("a,,b", ["a", "", "b"]),
        ("", [""]),
    ],
)
def test_labels_of_an_option_are_a_line_of_csv(text: str, labels: list[str]):
    assert labels_from_list(text) == labels


@pytest.mark.parametrize("text", ['"a,b', '"a"b,c', "a\nb,c"])
def test_what_is_no_list_of_labels(text: str):
    with pytest.raises(
        UsageError, match="is no list of labels: a label with a comma stands in double quotes"
    ):
        labels_from_list(text)


@given(st.lists(st.text(alphabet='ab, "', min_size=1).map(str.strip).filter(bool), min_size=1))
def test_labels_are_listed_as_they_are_read(labels: list[str]):
    assert labels_from_list(", ".join(map(quoted_label, labels))) == labels
