"""What one ``mer-train`` command does, before anything is read."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ...engine.data.clip import HEARD_KEY
from ...engine.data.labelled_audio import LabelledAudio
from ..embeddings.ears import embedded_audio
from ..networks.trained import TrainedNetwork, names_trained_network, trained_network
from ..plans import Plan, protocol_from_trained
from ..recipe import Protocol, SplitKind, audio_chosen, protocol_for
from ..teachers.teaching import Teaching
from .provenance import Job
from .run_folder import Mode


@dataclass(frozen=True)
class Session:
    """What a command trains on, which networks, and where the results go.

    Attributes:
        name: of the data, for model cards.
        out: the folder of results; several networks or splits get folders in it.
        splits: the kinds of split to make, in this order.
        folds: 0, or cross-validation with so many folds, with ``final`` a network on every clip after it;
            ``final`` without folds is that network alone, of which nothing is known.
        cache: the folder of spectrograms; None is ``cache_home()``.
        workers: child processes that decode; 0 is one a core.
        chosen: the fields that the user has set, ``audio.NAME`` among them; they override a network's own.
        plan: what of a network that was trained before is trained.
        plan_note: how that was chosen; "" where it was asked for.
        of_folds: where each fold chooses its own plan, the fold's session.
        teachers: networks whose view of the clips is learnt beside the labels; see ``Teaching``.
        unlabelled: folders and CSV files of music without labels, of which the teachers speak too.
        second: labelled audio with other labels, which are learnt beside; its clips are unlabelled ones too.
        group_by: the column that groups the clips, where one was asked for.
        non_music: folders of recordings that are no music; see ``add_evidence``.
    """

    data: LabelledAudio
    name: str
    models: tuple[str, ...]
    protocol: Protocol
    out: Path
    splits: tuple[SplitKind, ...] = ()
    folds: int = 0
    final: bool = False
    mode: Mode = "fresh"
    cache: Path | None = None
    workers: int = 0
    export: bool = True
    licence: str | None = None
    chosen: frozenset[str] = frozenset()
    teachers: tuple[str, ...] = ()
    unlabelled: tuple[Path, ...] = ()
    plan: Plan = "all"
    non_music: tuple[Path, ...] = ()
    plan_note: str = ""
    of_folds: tuple[Session, ...] = ()
    second: tuple[Path, ...] = ()
    group_by: str | None = None

    @cached_property
    def begun(self) -> TrainedNetwork | None:
        """The network that the trainings go on from; None where the weights are of none: see ``Protocol``."""
        weights = self.protocol.weights
        return trained_network(weights) if names_trained_network(weights) else None

    def protocol_of(self, model: str) -> Protocol:
        """The protocol as a network follows it; see ``protocol_for`` and ``protocol_from_trained``."""
        protocol = protocol_for(self.protocol, model, self.chosen, bool(self.teachers))
        if self.begun is None:
            return protocol
        usual = embedded_audio(self.begun) if self.plan == "frozen" else self.begun.audio
        audio = self.protocol.audio if self.audio_chosen else usual
        return protocol_from_trained(protocol, audio, self.plan == "frozen", self.chosen)

    @property
    def audio_chosen(self) -> bool:
        """Whether an AudioSpec was asked for, also where it is the protocol's own."""
        return audio_chosen(self.protocol, self.chosen)

    def job(self, model: str, protocol: Protocol, teaching: Teaching | None = None) -> Job:
        """How a network is trained, with the session's data and licence on its card."""
        heard = self.begun.provenance.get(HEARD_KEY) if self.begun else None
        job = Job(
            model,
            protocol,
            self.name,
            teaching,
            plan=self.plan,
            plan_note=self.plan_note,
            notice=self.begun.notice if self.begun else "",
            heard_before=heard if isinstance(heard, str) else "",
            cache=self.cache and self.cache / "embeddings",
            workers=self.workers,
        )
        return dataclasses.replace(job, licence=self.licence) if self.licence else job
