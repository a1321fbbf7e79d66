"""What must stay on one side of a curve: groups, and the recordings that their clips have in common."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ...engine.data.clip import id_or_none
from ...engine.data.labelled_audio import Clip, LabelledAudio
from ...engine.errors import MerError
from ..data.examples import connected, in_one_group
from ..data.near_copies import near_copies
from ..data.on_demand import OnDemand
from ..data.sides import copies_in_words
from ..data.spectrogram_cache import ClipSound, cached_sounds
from ..data.touched import Touched, touched_groups
from ..recipe import PROTOCOLS

_Sounds = Sequence[ClipSound | MerError]

# One for all methods, whatever their networks hear: other near copies would be other draws.
_HEARD = PROTOCOLS["best"]


def apart_by_recording(
    data: LabelledAudio,
    others: Sequence[LabelledAudio],
    cache: Path,
    workers: int = 0,
    on_done: Callable[[int], None] = lambda count: None,
) -> tuple[LabelledAudio, list[Touched], str]:
    """Joins the groups of near copies, and finds what other data has in common with them.

    Clips that cannot be read stay as they are.

    Args:
        cache: the folder of spectrograms.
        on_done: called with the number of clips that are ready.

    Returns:
        The data; what each of the others touches, see ``touched_groups``; and a line on the near copies, ""
        where there are none.

    Raises:
        MerError: the cache cannot be written.
    """
    clips = [*data.clips, *(clip for other in others for clip in other.clips)]
    sounds = cached_sounds(clips, _HEARD.audio, _HEARD.recipe.eval_windows, cache, workers, on_done)
    count = len(data.clips)
    copies = connected(list(_pairs(sounds[:count])))
    joined = dataclasses.replace(data, clips=tuple(in_one_group(data.clips, copies)))
    touched, begin = [], count
    for other in others:
        end = begin + len(other.clips)
        both = [*sounds[:count], *sounds[begin:end]]
        touched.append(_touched(data.clips, joined.clips, other.clips, both))
        begin = end
    note = copies_in_words(data.clips, copies)
    return joined, touched, note and f"{note}: never on both sides"


def _pairs(sounds: _Sounds) -> Iterator[tuple[int, int]]:
    """The near copies, by their positions in ``sounds``."""
    heard = [(i, sound) for i, sound in enumerate(sounds) if isinstance(sound, ClipSound)]
    frame_s = _HEARD.audio.hop_length / _HEARD.audio.sample_rate
    for first, second in near_copies(OnDemand(sound.decibels for _, sound in heard), frame_s):
        yield heard[first][0], heard[second][0]


def _touched(
    before: Sequence[Clip], joined: Sequence[Clip], others: Sequence[Clip], sounds: _Sounds
) -> Touched:
    """``before`` and ``joined`` are the curve's clips; ``sounds`` are theirs, then those of the others."""
    ids = {id_or_none(clip): i for i, clip in enumerate(joined)}
    same = {(ids[key], j) for j, clip in enumerate(others) if (key := id_or_none(clip)) in ids and key}
    count = len(joined)
    same |= {(first, second - count) for first, second in _pairs(sounds) if first < count <= second}
    return touched_groups(before, joined, others, same)
