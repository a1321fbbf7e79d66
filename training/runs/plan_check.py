"""Whether a session's networks can go on from the weights that it names."""

from __future__ import annotations

from pathlib import Path

from ...engine.errors import UsageError
from ..networks.frozen import FrozenNetwork
from ..networks.musicnn_weights import is_musicnn_weights, musicnn_state
from ..plans import other_mels
from .observer import Observer
from .settings import Session


def check_plan(session: Session, observer: Observer) -> None:
    """Whether the session's networks can go on from its weights; says what they hear otherwise than before.

    Raises:
        UsageError: they cannot.
        MerError: see ``trained_network``.
    """
    weights, plan = Path(session.protocol.weights).name, session.plan
    if is_musicnn_weights(session.protocol.weights):
        musicnn_state(session.protocol.weights, observer.say)  # fetched here, where that can be said
    begun = session.begun
    if begun is None:
        if plan != "all":
            raise UsageError(f"the plan {plan} needs the weights of a network that was trained before")
        return
    others = [model for model in session.models if model != begun.backbone]
    if others:
        raise UsageError(f"{weights} are weights of {begun.backbone}, not of {', '.join(others)}")
    if isinstance(begun.network, FrozenNetwork) and plan != "frozen":
        raise UsageError(
            f"{weights} is a frozen network with a head: give the weights that it is made of, or the plan "
            "frozen"
        )
    if plan == "frozen" and session.audio_chosen:
        raise UsageError("a frozen network hears what it was trained on: leave the AudioSpec out")
    if plan != "all" and (session.protocol.sub_clips or session.protocol.extra_head):
        raise UsageError(f"the plan {plan} is none of the protocol {session.protocol.name}")
    if plan == "frozen" and session.teachers:
        raise UsageError(
            "a frozen network learns nothing from teachers: leave them out, or take another plan"
        )
    differing = other_mels(begun.audio, session.protocol_of(begun.backbone).audio)
    if differing:
        observer.say(f"{weights} hears otherwise than before, and must learn that anew: {differing}")
