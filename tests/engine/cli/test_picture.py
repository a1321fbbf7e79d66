"""What ``--plot`` refuses before a song is labelled; tests/engine/cli/test_label.py has the rest."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from merkit.engine.catalogue.output import output_from_text
from merkit.engine.cli.picture import check_picture
from merkit.engine.errors import MerError


def test_without_matplotlib_no_song_is_labelled_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MerError, match="a picture needs matplotlib"):
        check_picture(str(tmp_path / "song.png"), ["song.mp3"], output_from_text(None))
