"""Tags of MP4, M4A and MOV as iTunes writes them: moov, udta, meta, ilst."""

from __future__ import annotations

from ..containers.mp4_boxes import boxes
from ..containers.part import Part
from .values import LONGEST, Tags, add, text_from_bytes, text_from_utf16

_ITEMS = {b"\xa9ART": "artist", b"\xa9nam": "title", b"\xa9alb": "album"}
_TEXT, _UTF16 = (0, 1), 2  # types of data


def read_mp4(part: Part, tags: Tags) -> None:
    """Adds the tags of an MP4 file; other tags of QuickTime are left to FFmpeg."""
    for name in (b"moov", b"udta", b"meta", b"ilst"):
        box = next((box for kind, box in boxes(part) if kind == name), None)
        if box is None:
            return
        # MP4 puts a version before the boxes in meta, QuickTime does not.
        part = box.part(4) if name == b"meta" and box.read(4, 4) != b"hdlr" else box
    for kind, item in boxes(part):
        if kind not in _ITEMS:
            continue
        for inner, data in boxes(item):
            if inner == b"data":
                kind_of_text = int.from_bytes(data.read(0, 4), "big")
                text = data.read(8, LONGEST)
                if kind_of_text in _TEXT:
                    add(tags, _ITEMS[kind], text_from_bytes(text))
                elif kind_of_text == _UTF16:
                    add(tags, _ITEMS[kind], text_from_utf16(text, "utf-16-be"))
