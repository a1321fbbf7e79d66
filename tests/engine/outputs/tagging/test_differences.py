from __future__ import annotations

import io
import json
import random

from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.outputs.tagging.differences import bytes_from_pieces, pieces_from_files

_NOISE = random.Random(2).randbytes
_PARTS = [_NOISE(size) for size in (1, 100, 511, 512, 513, 3_000)] + [bytes(3_000), bytes(range(256)) * 8]
PARTS = st.lists(st.binary(max_size=8) | st.sampled_from(_PARTS), max_size=6)


def restored(old: bytes, new: bytes) -> tuple[bytes, str]:
    pieces = json.loads(json.dumps(pieces_from_files(io.BytesIO(old), io.BytesIO(new))))
    return b"".join(bytes_from_pieces(pieces, io.BytesIO(new))), json.dumps(pieces)


@given(PARTS, PARTS, PARTS)
def test_the_old_bytes_come_back(common: list[bytes], old: list[bytes], new: list[bytes]) -> None:
    one = b"".join([*old, *common, *old[:1]])
    other = b"".join([*new[:1], *common, *new])
    assert restored(one, other)[0] == one


def test_what_has_only_moved_is_not_stored() -> None:
    noise = random.Random(0).randbytes
    head, picture, sound = noise(300), noise(200_000), noise(3_000_000)
    old = head + picture + bytes(2_000) + sound
    new = head + b"a mood" * 20 + picture + bytes(1_880) + sound
    again, pieces = restored(old, new)
    assert again == old
    assert len(pieces) < 1_000


def test_pages_with_new_numbers_cost_their_heads() -> None:
    """As an Ogg file's when its comments take a page more."""
    noise = random.Random(1).randbytes
    pages = [noise(4_000) for _ in range(200)]
    old = b"".join(number.to_bytes(27, "big") + page for number, page in enumerate(pages))
    new = noise(5_000) + b"".join(
        (number + 1).to_bytes(27, "big") + page for number, page in enumerate(pages)
    )
    again, pieces = restored(old, new)
    assert again == old
    assert len(pieces) < len(old) / 10
