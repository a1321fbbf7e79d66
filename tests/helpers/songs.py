"""A label and an error, with names that are hard on every format."""

from __future__ import annotations

from merkit.engine.labelling.song_label import SongLabel

GOOD = SongLabel(
    "गीत/दिल 💔.mp3", None, "sad", (0.1, 0.2, 0.6, 0.1), 241.5, ((0.0, (0.1, 0.2, 0.6, 0.1)),), "x"
)
BAD = SongLabel('=cmd|" /C calc"!A0,\n.mp3', "not an audio file")
