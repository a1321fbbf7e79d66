"""The items of the tags of MP4, M4A, MOV and 3GP as their bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...errors import MerError

_ITUNES = b"com.apple.itunes"


def items_of_mp4(path: str | Path) -> list[tuple[str, bytes]] | None:
    """Each item, as its four letters and its content, behind its name if that is one of iTunes', or "".

    By their letters, as mutagen writes them; those with the same in order. None where there are no tags.

    Raises:
        MerError: they cannot be read.
        OSError: the file cannot be read.
    """
    from mutagen.mp4._atom import AtomError, Atoms

    with open(path, "rb") as file:
        try:
            tags: Any = Atoms(file).path(b"moov", b"udta", b"meta", b"ilst")[-1]
        except KeyError:
            return None
        except AtomError as error:
            raise MerError(f"its tags are damaged: {error}") from None
        items = [atom.name + atom.read(file)[1] for atom in tags.children]
    return [(_name(item), item) for item in sorted(items, key=lambda item: item[:4])]


def _name(item: bytes) -> str:
    letters, content, names = item[:4], item[4:], []
    for _ in range(2):  # whose name it is, and the name
        size = int.from_bytes(content[:4], "big")
        names.append(content[12:size])
        content = content[size:]
    is_named = letters == b"----" and names[0].lower() == _ITUNES
    return names[1].decode("utf-8", "replace") if is_named else ""
