"""An option's list of labels, as many as there are keys."""

from __future__ import annotations

import unicodedata

import pytest
from merkit.engine.errors import UsageError
from merkit.training.listening.keys import labels_from_text


def test_labels():
    assert labels_from_text(" शांत , very  sad,C") == ("शांत", "very sad", "C")
    assert labels_from_text(unicodedata.normalize("NFD", "gl\xe9,sad")) == ("gl\xe9", "sad")
    assert labels_from_text('"happy,  ""very""",tense') == ('happy, "very"', "tense")
    for text in ("", "a", "a,", "a,A", "=a,b", "a\x1b,b", ",".join(map(str, range(34)))):
        with pytest.raises(UsageError):
            labels_from_text(text)
