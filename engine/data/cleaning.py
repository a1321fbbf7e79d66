"""Names that people typed: the same word is written with other blanks, in another case or Unicode form."""

from __future__ import annotations

import unicodedata

from .clip import Part

_PARTS: dict[str, Part] = {
    **dict.fromkeys(("train", "training"), "training"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "development"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}


def cleaned(text: str) -> str:
    """The text in NFC, without blanks at its ends, and with one space for each run of blanks inside."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def comparison_key(text: str) -> str:
    """Equal for texts that a reader takes for the same: case, width and what does not show are dropped."""
    shown = "".join(
        c for c in unicodedata.normalize("NFKC", text).casefold() if unicodedata.category(c) != "Cf"
    )
    return cleaned(unicodedata.normalize("NFKC", shown))


def part_from_name(name: str) -> Part:
    """The part of a split that a folder or a cell of this name stands for; "" for any other name."""
    return _PARTS.get(comparison_key(name), "")
