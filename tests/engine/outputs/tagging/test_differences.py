from __future__ import annotations

import hashlib
import io
import json
import random
import time
import tracemalloc
from pathlib import Path

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
    old, new = renumbered(pages=200)
    again, pieces = restored(old, new)
    assert again == old
    assert len(pieces) < len(old) / 10


def test_pages_take_time_by_their_number_and_not_by_its_square() -> None:
    def seconds(pages: int) -> float:
        old, new = map(io.BytesIO, renumbered(pages))
        start = time.thread_time()
        pieces_from_files(old, new)
        return time.thread_time() - start

    seconds(100)
    assert seconds(4_000) < 12 * min(seconds(1_000) for _ in range(3)) + 0.1


def renumbered(pages: int) -> tuple[bytes, bytes]:
    """Pages before and after something longer stands before them, whose heads have other numbers then."""
    noise = random.Random(1).randbytes
    contents = [noise(4_000) for _ in range(pages)]
    old, new = (
        b"".join((number + more).to_bytes(27, "big") + page for number, page in enumerate(contents))
        for more in (0, 1)
    )
    return old, noise(5_000) + new


def test_long_files_are_not_held_in_memory(tmp_path: Path) -> None:
    """Of WAV the size at the beginning changes and the end: all of the sound stands between them."""
    sound = _NOISE(1 << 20)
    paths = [tmp_path / "old", tmp_path / "new"]
    for path, head, end in zip(paths, (b"RIFF1", b"RIFF2"), (b"old tag", b"a new tag"), strict=True):
        with path.open("wb") as file:
            file.write(head)
            for number in range(32):
                file.write(bytes([number]) + sound)
            file.write(end)
    with paths[0].open("rb") as old, paths[1].open("rb") as new:
        tracemalloc.start()
        pieces = pieces_from_files(old, new)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        digests = hashlib.sha256(), hashlib.sha256(paths[0].read_bytes())
        for part in bytes_from_pieces(pieces, new):
            digests[0].update(part)
    assert peak < 8 << 20
    assert len(json.dumps(pieces)) < 500
    assert digests[0].digest() == digests[1].digest()
