"""Whether a session's networks can go on from its weights, and learn from its teachers."""

from __future__ import annotations

import torch

from ...engine.data.cleaning import quoted_label
from ...engine.data.clip import id_or_none
from ...engine.errors import MerError, UsageError
from ...engine.spec import AudioSpec
from ...engine.spectrogram.presets import PRESETS
from ..names import name_of
from ..networks.backbones import build_backbone
from ..networks.embedding import embedding_audio
from ..networks.frozen import FrozenNetwork
from ..networks.musicnn_weights import is_musicnn_weights, musicnn_state
from ..networks.registry import outside_backbone
from ..networks.trained import TrainedNetwork, trained_network
from ..plans import other_mels
from ..recipe import AUDIO_OF_A_NETWORK, FROZEN_FIELDS, TAUGHT, Recipe, differs_in_windows_only
from ..teachers.teaching import check_teachers
from .observer import Observer
from .settings import Session


def check_session(session: Session, observer: Observer) -> None:
    """Whether the session's networks can be trained as it says, as far as that is known before any clip is.

    Raises:
        UsageError, MerError: see ``check_plan`` and ``check_teaching``.
    """
    check_plan(session, observer)
    check_teaching(session, observer)


def check_plan(session: Session, observer: Observer) -> None:
    """Whether the session's networks can go on from its weights; says what is otherwise than before.

    Raises:
        UsageError: they cannot, or a network cannot take images of such a shape.
        MerError: see ``trained_network``.
    """
    weights, plan = name_of(session.protocol.weights), session.plan
    for name in ("train_windows", "guard"):
        asked = getattr(session.protocol.recipe, name) != getattr(Recipe(), name)
        if plan != "frozen" and asked:
            raise UsageError(f"{name} is for the head of a frozen network: it needs --plan frozen")
    for model in session.models:
        _check_images(session, model)
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
    if plan == "frozen" and session.audio_chosen and not _can_hear(begun, session.protocol.audio):
        raise UsageError("a frozen network hears what it was trained on: leave the AudioSpec out")
    if plan != "all" and (session.protocol.sub_clips or session.protocol.extra_head):
        raise UsageError(f"the plan {plan} is none of the protocol {session.protocol.name}")
    if plan == "frozen" and session.teachers:
        raise UsageError(
            "a frozen network learns nothing from teachers: leave them out, or take another plan"
        )
    unused = {name for name in session.chosen if "." not in name} - FROZEN_FIELDS
    if session.second:
        unused |= {"labels of --second-head"}
    if plan == "frozen" and unused:
        observer.say(
            f"a frozen network has a head by logistic regression: {', '.join(sorted(unused))} not used"
        )
    if plan != "frozen" and begun.labels and {*begun.labels} != {*session.data.labels}:
        others = ", ".join(map(quoted_label, begun.labels))
        observer.say(f"{weights} has other labels ({others}): the network's head is new")
    differing = other_mels(begun.audio, session.protocol_of(begun.backbone).audio)
    if differing:
        then = "which a frozen network does not learn" if plan == "frozen" else "and must learn that anew"
        observer.say(f"{weights} hears otherwise than before, {then}: {differing}")


def _check_images(session: Session, model: str) -> None:
    """Whether a network can take the images that it would be given.

    Without values first (on the device ``meta``), which costs next to nothing. What other packages add may
    need values: it is refused only if it fails with them too.
    """
    audio, mels, patches = session.protocol_of(model).audio, 0, 1
    if session.begun and session.plan == "frozen":  # see Embedding
        mels, patches = session.begun.audio.n_mels, embedding_audio(session.begun.audio)[1]
    shape = (1, 1, max(mels, audio.n_mels), audio.frames // patches)
    for device in ("meta", "cpu"):
        try:
            with torch.device(device), torch.inference_mode():
                build_backbone(model, 2).to(device).eval()(torch.zeros(shape))
            return
        except MerError:
            raise
        except Exception as error:
            if device == "meta":
                continue
            refused = f"{model} cannot take images of {shape[2]} mels and {shape[3]} frames"
            if isinstance(error, RuntimeError):
                raise UsageError(
                    f"{refused}, most likely too few for its layers: set audio.n_mels or audio.frames "
                    "otherwise"
                ) from None
            if outside_backbone(model) is None:  # a bug of ours
                raise
            raise UsageError(f"{refused}: its package raises {type(error).__name__}: {error}") from None


def _can_hear(begun: TrainedNetwork, audio: AudioSpec) -> bool:
    """Whether this is what it was trained on, or one of the presets of published weights.

    Windows may be of another length where the network is embedded in one patch.
    """
    presets = () if begun.labels else AUDIO_OF_A_NETWORK.get(begun.backbone, ())
    own = [begun.audio, *(PRESETS[name] for name in presets)]
    whole = embedding_audio(begun.audio)[1] == 1
    return audio in own or (whole and any(differs_in_windows_only(audio, preset) for preset in own))


def check_teaching(session: Session, observer: Observer) -> None:
    """Whether the session's teachers are there, and there are some where one is needed.

    Raises:
        UsageError, MerError: see ``check_teachers``; or there is nobody to learn from.
    """
    check_teachers(session.teachers, observer.say, session.final)
    protocol = session.protocol
    if protocol.recipe.pretrain:
        if not session.teachers or not session.sources:
            raise UsageError("pretrain needs a teacher, and music without labels: --teacher and --unlabelled")
        if protocol.weights != "none" or protocol.extra_head or protocol.recipe.layers == "head":
            raise UsageError("pretrain needs random weights, all layers and no extra head")
        if trained_network(session.teachers[0], observer.say).labels:
            raise UsageError(
                f"pretrain: {session.teachers[0]} was taught labels: name a published network first"
            )
    if session.teachers:
        return
    # With a frozen network it counts as music in the verdict.
    if (session.unlabelled or session.second) and session.plan != "frozen":
        raise UsageError(
            "music without labels teaches nothing by itself: name a teacher, which says what it is"
        )
    asked = [name for name in TAUGHT if getattr(protocol.recipe, name)]
    if asked:
        raise UsageError(f"{', '.join(asked)}: there is no teacher to learn that from; name one")


def check_words(session: Session) -> None:
    """Whether there is something to learn from each of the other labels.

    Raises:
        UsageError, MerError: see ``Session.words``; or the clips that have them are labelled ones, which are
            no music without labels.
    """
    labelled = {id_or_none(clip) for clip in session.data.clips}
    for root, words in zip(session.second, session.words, strict=True):
        left = {identity: word for identity, word in words.items() if identity not in labelled}
        if session.teachers and len({*left.values()}) < 2:
            raise UsageError(
                f"--second-head {root}: {len(words) - len(left)} of its {len(words)} clips are also in "
                "--data, where their other labels are not learnt; the rest have fewer than two labels. Give "
                "clips that --data does not have"
            )
