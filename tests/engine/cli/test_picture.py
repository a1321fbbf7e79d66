"""What ``--plot`` refuses before a song is labelled; tests/engine/cli/test_label.py has the rest."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path

import pytest
from label_folders import row_of, write_labels
from merkit.engine.catalogue.output import output_from_text
from merkit.engine.cli.picture import check_picture
from merkit.engine.errors import MerError, UsageError
from merkit.engine.outputs.marks import SOFTWARE


def test_without_matplotlib_no_song_is_labelled_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MerError, match="a picture needs matplotlib"):
        check_picture(str(tmp_path / "song.png"), ["song.mp3"], output_from_text(None))


def test_where_no_picture_can_be_written_no_song_is_labelled_first(tmp_path: Path) -> None:
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "folder.png").mkdir()
    for name, reason in (
        ("loop.png", "loop.png cannot be written: "),
        ("folder.png", "is a folder"),
        ("no/x.png", "there is no folder"),
    ):
        with pytest.raises(UsageError, match=reason):
            check_picture(str(tmp_path / name), ["song.mp3"], output_from_text(None))


def test_no_picture_is_drawn_in_a_folder_of_labels(tmp_path: Path) -> None:
    """Of this run or not: what reads that folder as a whole cannot read it any more."""
    write_labels(tmp_path / "labels", [row_of("z", "sad")])
    (tmp_path / "labels" / "sub").mkdir()
    for picture, out in (
        ("labels/p.png", None),
        ("labels/sub/p.png", None),
        ("new/p.png", f"{tmp_path}/new/"),
    ):
        with pytest.raises(UsageError, match="which other programs read as a whole"):
            check_picture(str(tmp_path / picture), ["song.mp3"], output_from_text(out))


def test_a_picture_of_somebody_else_stays(tmp_path: Path) -> None:
    """Such as the album's cover, or a chart of the user's own."""
    figure = pytest.importorskip("matplotlib.figure").Figure()
    picture = tmp_path / "cover.png"
    for metadata in ({"Software": "GIMP"}, {}, SOFTWARE):  # {}: Matplotlib names itself
        figure.savefig(content := BytesIO(), format="png", metadata=metadata)
        picture.write_bytes(before := content.getvalue())
        is_foreign = metadata is not SOFTWARE
        with pytest.raises(UsageError, match="of this command's making") if is_foreign else nullcontext():
            check_picture(str(picture), ["song.mp3"], output_from_text(None))
        assert picture.read_bytes() == before
