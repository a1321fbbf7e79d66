"""The block of data, read by the book: lengths, kinds, places."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from typing import Any

import numpy as np
from merkit.engine.outputs.page.packed import packed


def unpacked(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the page's script makes of it."""
    block = zlib.decompress(base64.b64decode(text, validate=True))
    (length,) = struct.unpack_from("<I", block)
    head = json.loads(block[4 : 4 + length])
    place, columns = 4 + length, {}
    for fact in head["columns"]:
        assert place % 4 == 0
        content = block[place : place + fact["bytes"]]
        kind = {"u8": "B", "u16": "H", "u32": "I"}.get(fact["kind"])
        columns[fact["name"]] = (
            content.decode().split("\n")
            if kind is None
            else [n for (n,) in struct.iter_unpack(f"<{kind}", content)]
        )
        place += -(-fact["bytes"] // 4) * 4
    assert place == len(block)
    return head["about"], columns


def test_numbers_and_texts() -> None:
    columns = {
        "few": np.array([1, 2, 255], np.uint8),
        "names": ["तेरे बिना", "", "</script>"],
        "more": np.array([65_535], np.uint16),
        "most": np.array([0, 4_294_967_295], np.uint32),
        "none": np.array([], np.uint8),
    }
    about, back = unpacked(packed({"songs": 3}, columns))
    assert about == {"songs": 3}
    assert back == {"few": [1, 2, 255], "names": ["तेरे बिना", "", "</script>"], "more": [65_535],
                    "most": [0, 4_294_967_295], "none": []}  # fmt: skip


def test_it_is_no_markup() -> None:
    assert set(packed({}, {"x": ["<script>"] * 9})) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
    )
