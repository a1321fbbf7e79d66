"""Names that people typed: the same word is written with other blanks, in another case or Unicode form."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import MerError, UsageError
from ..text.escape import for_terminal, text_from_path
from .clip import Part
from .notes import Notes

_PARTS: dict[str, Part] = {
    **dict.fromkeys(("train", "training"), "training"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "development"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}

_WRITTEN_AS_FRACTION = re.compile(r"^(-?\d+)\.0+$")


def cleaned(text: str) -> str:
    """The text in NFC, without blanks at its ends, and with one space for each run of blanks inside.

    Bytes of a folder's name that are no UTF-8 become escapes, which every file can hold.
    """
    return " ".join(unicodedata.normalize("NFC", text_from_path(text)).split())


def comparison_key(text: str) -> str:
    """Equal for texts that a reader takes for the same: case, width and what does not show are dropped."""
    shown = "".join(
        c for c in unicodedata.normalize("NFKC", text).casefold() if unicodedata.category(c) != "Cf"
    )
    return cleaned(unicodedata.normalize("NFKC", shown))


def as_spelt(label: str, labels: Sequence[str]) -> str | None:
    """The one of ``labels`` that a reader takes for the same; an equal one comes first, None is none."""
    if label in labels:
        return label
    key = comparison_key(label)
    return next((other for other in labels if comparison_key(other) == key), None)


def labels_from_list(text: str) -> list[str]:
    """The labels of an option ``A,B,...``, a line of CSV: one with a comma stands in quotes.

    Raises:
        UsageError: it is no such line.
    """
    try:
        (labels,) = csv.reader([text], skipinitialspace=True, strict=True)
    except csv.Error:
        raise UsageError(
            f"{text!r} is no list of labels: a label with a comma stands in double quotes as a whole, and "
            "quotes in it are doubled"
        ) from None
    return [label.strip() for label in labels or [""]]


def quoted_label(label: str) -> str:
    """A label as it stands in a list that ``labels_from_list`` reads."""
    return '"' + label.replace('"', '""') + '"' if "," in label or label.startswith('"') else label


def part_from_name(name: str) -> Part:
    """The part of a split that a folder or a cell of this name stands for; "" for any other name."""
    return _PARTS.get(comparison_key(name), "")


def check_labels(labels: Iterable[str], source: Path, notes: Notes) -> None:
    """Notes labels that are equal once they are cleaned.

    Raises:
        MerError: a blank label, or labels that a reader takes for one though cleaning leaves them different.
    """
    spelt: dict[str, dict[str, None]] = defaultdict(dict)
    for label in labels:
        # A column of whole numbers with a gap in it is written with fractions: 1.0.
        spelt[_WRITTEN_AS_FRACTION.sub(r"\1", comparison_key(label))][label] = None
    for key, spellings in spelt.items():
        names, cleans = ", ".join(map(repr, spellings)), {cleaned(spelling) for spelling in spellings}
        if not key:
            raise MerError(f"{source} has a label whose name {names} is blank")
        if any(for_terminal(label) != label for label in cleans):
            raise MerError(f"{source} has a label with control characters: {names}")
        if len(cleans) > 1:
            raise MerError(
                f"{source} has labels of which only the spelling differs: {names}; write them alike"
            )
        if len(spellings) > 1:
            notes.add("labels taken as one, for only blanks or the Unicode form differ", names)
