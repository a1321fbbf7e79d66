"""Names that a search leaves out: what systems and programs put beside music, and what is hidden."""

from __future__ import annotations

import re

_NAMES = (
    # Bins of desktops, NAS boxes and Windows.
    ".recycle .recycle.bin #recycle @recycle @sharebin $recycle.bin .dtrash "
    # Bins and older versions of backups, of programs that mirror folders and of servers of files.
    ".stversions _gsdata_ backups.backupdb files_trashbin files_versions "
    # What NAS boxes keep for themselves beside music.
    "@tmp @appstore @sharesnap @__thumb .@__thumb "
    # Snapshots: each holds every song once more.
    ".snapshot .snapshots .zfs #snapshot ~snapshot @recently-snapshot "
    # What Macs and servers keep about files, and what a repair of a disk saved.
    ".appledouble .appledb .appledesktop @eadir __macosx lost+found"
)
_LITTER = {*_NAMES.split(), "system volume information", "network trash folder", "temporary items"}
_OLDER_BINS = ("RECYCLER", "RECYCLED")  # of Windows; "Recycler" is an album
_FOUND = re.compile(r"found\.[0-9]{3}", re.IGNORECASE)  # what a repair of a disk of Windows saved
# AppleDouble companions have the suffix of the file that they go with, and so has what Android deleted.
_LITTER_PREFIXES = ("._", ".trash")


def is_left_out(name: str, hidden: bool) -> bool:
    """Whether a search leaves out a file or folder of this name; ``hidden``: those with a dot in front count.

    Names that begin with two dots ("...And Justice for All") are titles, and not hidden.
    """
    if not name.startswith("."):
        return name.lower() in _LITTER or name in _OLDER_BINS or _FOUND.fullmatch(name) is not None
    if name.lower() in _LITTER or name.lower().startswith(_LITTER_PREFIXES):
        return True
    return not hidden and not name.startswith("..")
