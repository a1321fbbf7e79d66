"""How cards, metrics and tables name the files and folders that a command was given."""

from __future__ import annotations

from pathlib import Path

from ..engine.text.escape import text_from_path


def name_of(place: str | Path) -> str:
    """The last part of a path, as text that every format holds; of "." and ".." what they stand for."""
    path = Path(place)
    return text_from_path((path if path.name not in ("", "..") else path.resolve()).name)
