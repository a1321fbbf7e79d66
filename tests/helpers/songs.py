"""A label, with a silent window, and an error; names that are hard on every format."""

from __future__ import annotations

from merkit.engine.labelling.song_label import SongLabel

_P = (0.1, 0.2, 0.6, 0.1)
GOOD = SongLabel(
    "गीत/दिल 💔.mp3",
    None,
    "sad",
    _P,
    241.5,
    ((0.0, _P), (10.0, None)),
    "x",
    verdict="unsure",
    novelty=0.98,
)
BAD = SongLabel('=cmd|" /C calc"!A0,\n.mp3', "not an audio file")
