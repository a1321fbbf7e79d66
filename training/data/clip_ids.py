"""The ids of many clips, which are read whole for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from ...engine.cpu import usable_cores
from ...engine.data.labelled_audio import Clip
from ...engine.errors import MerError


def clip_ids(clips: Sequence[Clip]) -> Iterator[str | MerError]:
    """Each clip's id, or why the file cannot be read; in threads, since hashing releases the GIL."""

    def identity(clip: Clip) -> str | MerError:
        try:
            return clip.id
        except MerError as error:
            return MerError(str(error).removeprefix(f"{clip.path} "))  # the path is reported beside it

    with ThreadPoolExecutor(usable_cores()) as threads:
        yield from threads.map(identity, clips)
