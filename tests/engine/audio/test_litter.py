"""Names that searches leave out."""

from __future__ import annotations

import pytest
from merkit.engine.audio.litter import is_left_out


@pytest.mark.parametrize(
    "name",
    ["._a.mp3", "._", ".AppleDouble", "@eaDir", "#recycle", "$Recycle.Bin", ".Trash", ".Trash-1000",
     ".Trashes", ".stversions", ".snapshots", ".snapshot", ".zfs", "__MACOSX", "lost+found",
     "SYSTEM VOLUME INFORMATION", "Network Trash Folder", "Temporary Items", "RECYCLER", "found.000",
     "FOUND.012", "@tmp", "@sharesnap", "@__thumb", ".@__thumb", "@appstore",
     "_gsdata_", "Backups.backupdb", "files_trashbin", "files_versions", ".Recycle.Bin", "RECYCLED",
     "@sharebin", ".trashed-1690000000-song.mp3", ".Trash_old"],
)  # fmt: skip
def test_litter_is_never_taken(name: str) -> None:
    assert is_left_out(name, hidden=False)
    assert is_left_out(name, hidden=True)


@pytest.mark.parametrize("name", [".a.mp3", ".hidden", ".git", ".38 Special"])
def test_hidden_names(name: str) -> None:
    assert is_left_out(name, hidden=False)
    assert not is_left_out(name, hidden=True)


@pytest.mark.parametrize(
    "name",
    ["a.mp3", "...And Justice for All", "..", "Recycler", "Recycled", "files", "#1 Hits", "@live", "_a.mp3",
     "Trash", "snapshots", "found.mp3", "found.0000", "@tmp.mp3"],
)  # fmt: skip
def test_titles(name: str) -> None:
    assert not is_left_out(name, hidden=False)
