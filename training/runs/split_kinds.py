"""Which kinds of split a session makes: what is asked for, what the protocol does, what the data allows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ...engine.data.labelled_audio import LabelledAudio
from ...engine.errors import UsageError
from ..data.examples import Examples
from ..data.splits import can_be_given, can_be_grouped
from ..recipe import Protocol, SplitKind
from .observer import Observer
from .settings import Session


def splits_from_choice(choice: str | None, protocol: Protocol, data: LabelledAudio) -> tuple[SplitKind, ...]:
    """The kinds of split to make; see ``with_possible_splits`` for data of which no groups are known.

    Args:
        choice: "given", "grouped", "random", "both" (grouped and random), or None: the one that the data
            comes with; else the protocol's kind, and a grouped split beside a random one.

    Raises:
        UsageError: a given split of data that comes without one.
    """
    given = can_be_given(data.clips)
    if choice == "given" and not given:
        raise UsageError("no given split: the data does not say what to train on and what to test")
    if choice == "given" or (choice is None and given):
        return ("given",)
    if choice == "both" or (choice is None and protocol.split == "random"):
        return ("random", "grouped")
    # The random split of ``best`` keeps near copies on one side: without groups it is the grouped one.
    possible = bool(protocol.sub_clips) or can_be_grouped(data.clips)
    kind = choice or protocol.split
    return ("grouped",) if kind == "grouped" and (choice or possible) else ("random",)


def with_possible_splits(session: Session, examples: Mapping[str, Examples], observer: Observer) -> Session:
    """The session without a grouped split beside a random one, where no two examples are in one group.

    It is known only once the clips are read: near copies are a group, and so are the sub-clips of a clip.

    Raises:
        UsageError: a grouped split alone, of data without groups.
    """
    if "grouped" not in session.splits or any(can_be_grouped(heard.clips) for heard in examples.values()):
        return session
    by = session.data.grouped_by
    why = "no two clips are near copies, " + (
        "or known to share an artist or group (a CSV's column says it)"
        if by in ("clip", "recording")
        else f"and each {by} has one clip"
    )
    if len(session.splits) == 1:
        if can_be_grouped(session.data.clips):  # all but one clip of each group are left out
            return session
        raise UsageError(f"no grouped split: {why}")
    observer.say(f"no grouped split beside the random one: {why}")
    return dataclasses.replace(session, splits=("random",))


def kinds_of_split(session: Session) -> tuple[SplitKind, ...]:
    """The session's kinds of split; folds are not the ones that the data comes with."""
    kinds = session.splits
    if session.folds and "given" in kinds:
        grouped = bool(session.protocol.sub_clips) or can_be_grouped(session.data.clips)
        kinds = ("grouped",) if grouped else ("random",)
    return kinds
