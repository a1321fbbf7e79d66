"""What files say of the places that a command was given."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from merkit.training.names import name_of


def test_a_place_has_a_name_and_it_is_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "run" / "below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "run" / "below")
    names = [name_of(place) for place in (".", "", "..", "../..", "x/w.pt", tmp_path, "musicnn-msd")]
    assert names == ["below", "below", "run", tmp_path.name, "w.pt", tmp_path.name, "musicnn-msd"]
    assert name_of(os.fsdecode(b"a/mus\xffik")) == r"mus\xffik"
