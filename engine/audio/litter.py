"""Names that a search leaves out: what systems and programs put beside music, and what is hidden."""

from __future__ import annotations

import re

_NAMES = (
    # Bins of desktops, NAS boxes, Windows and programs that mirror folders.
    ".trash .trashes .recycle #recycle @recycle $recycle.bin .dtrash .stversions "
    # What NAS boxes keep for themselves beside music.
    "@tmp @appstore @sharesnap @__thumb .@__thumb "
    # Snapshots: each holds every song once more.
    ".snapshot .snapshots .zfs #snapshot ~snapshot @recently-snapshot "
    # What Macs and servers keep about files, and what a repair of a disk saved.
    ".appledouble .appledb .appledesktop @eadir __macosx lost+found"
)
_LITTER = {*_NAMES.split(), "system volume information", "network trash folder", "temporary items"}
_BIN_OF_WINDOWS_XP = "RECYCLER"  # "Recycler" is an album
_FOUND = re.compile(r"found\.[0-9]{3}", re.IGNORECASE)  # what a repair of a disk of Windows saved
_LITTER_PREFIXES = ("._", ".trash-")  # AppleDouble companions have the suffix of the file that they go with


def is_left_out(name: str, hidden: bool) -> bool:
    """Whether a search leaves out a file or folder of this name; ``hidden``: those with a dot in front count.

    Names that begin with two dots ("...And Justice for All") are titles, and not hidden.
    """
    if not name.startswith("."):
        return name.lower() in _LITTER or name == _BIN_OF_WINDOWS_XP or _FOUND.fullmatch(name) is not None
    if name.lower() in _LITTER or name.lower().startswith(_LITTER_PREFIXES):
        return True
    return not hidden and not name.startswith("..")
