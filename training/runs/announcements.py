"""What a session says before its trainings and after them."""

from __future__ import annotations

from collections.abc import Sequence

from ...engine.data.cleaning import quoted_label
from ...engine.spec import AudioSpec
from ..data.examples import Examples, end_of_band
from ..data.splits import Split
from ..evaluate.metrics_report import HEARD_BEFORE, calibration_text, heard_before_text, macro_f1_text
from ..evaluate.predictions import TEMPERATURES
from ..recipe import Protocol
from .observer import Observer
from .provenance import split_note
from .run_folder import FinishedRun

_MOST = 0.9  # of the band that a network hears
_NO_LABELS = {"error", "not_music", "silence"}
_AT_BOUND = 1.01  # times a bound: the search ends near it


def announcement(examples: Examples, splits: Sequence[Split], protocol: Protocol, model: str) -> str:
    """What a training is about to do, in a line."""
    first = splits[0]
    kind = {
        "grouped": f"grouped split by {examples.grouped_by}",
        "random": "random split, " + ("stratified" if protocol.name == "best" else "as the papers made it"),
        "given": "the data's own split",
    }[first.kind]
    rest = f"{len(splits)} folds" if first.folds else f"test part {first.hash[:12]}"
    parts = (("tested", "test", first.test), ("validated", "validation", first.validation))
    lacking = [
        f"; not {what}, since the {part} part has none: {', '.join(map(quoted_label, missing))}"
        for what, part, chosen in parts
        if len(chosen) and (missing := sorted({*examples.labels} - {examples.clips[i].label for i in chosen}))
    ]
    return (
        f"{model}, {protocol.name}: {kind}: {len(first.training)} to train, {len(first.validation)} to "
        f"validate, {len(first.test)} to test, {rest}; {split_note(examples, first, protocol)}"
        + "".join(lacking)
    )


def say_gaps(random: Sequence[FinishedRun], grouped: Sequence[FinishedRun], observer: Observer) -> None:
    """How much better each network reads on the random split than on the grouped one."""
    for on_random, on_grouped in zip(random, grouped, strict=True):
        # By window, since a random split of sub-clips tests only some of each song's.
        r, g = on_random.metrics["window"], on_grouped.metrics["window"]
        observer.say(
            f"gap, {on_random.metrics['model']}: by window, random split {r['accuracy']:.3f} accuracy and "
            f"{r['macro_f1']:.3f} macro-F1, grouped {g['accuracy']:.3f} and {g['macro_f1']:.3f}: "
            f"the random one reads {100 * (r['accuracy'] - g['accuracy']):+.1f} and "
            f"{100 * (r['macro_f1'] - g['macro_f1']):+.1f} points"
        )


def summary(run: FinishedRun) -> str:
    """A run's figures on the songs that test it, and its folder, in two lines."""
    m = run.metrics
    untested = f"; not tested: {', '.join(map(quoted_label, m['not_tested']))}" if m.get("not_tested") else ""
    songs = "songs" if m.get(HEARD_BEFORE) else "held-out songs"
    before = f"; {heard_before_text(m)}" if m.get(HEARD_BEFORE) else ""
    return (
        f"{m['model']} on {m['songs']} {songs} ({m['split']['kind']} split): "
        f"macro-F1 {macro_f1_text(m)}{untested}, accuracy {m['accuracy']:.3f} "
        f"(by window {m['window']['accuracy']:.3f}; the most frequent label alone {m['majority']:.3f}), "
        f"calibration error {calibration_text(m)} at temperature {m['temperature']:g}{before}\n"
        f"{run.folder}"
    )


def note_on_the_temperature(temperature: float) -> str:
    """Says what it means if it stands at one of its bounds; "" if not."""
    least, most = TEMPERATURES
    if least * _AT_BOUND < temperature < most / _AT_BOUND:
        return ""
    bound, why = (least, "errs in none") if temperature < 1 else (most, "tells nothing")
    return (
        f"the temperature stands at its bound, {bound:g}, since the network {why} of the songs that it is "
        "fitted to: probabilities mean little; more songs to validate on give a better one"
    )


def note_on_the_labels(labels: Sequence[str]) -> str:
    """Says which of them ``mer-label`` writes of songs that have no label; "" if none."""
    found = sorted({*labels} & _NO_LABELS)
    if not found:
        return ""
    return (
        f"in a pipe, mer-label writes {', '.join(found)} for songs without a label too: rename these labels "
        "to tell the two apart"
    )


def note_on_the_band(audio: AudioSpec, examples: Examples) -> str:
    """Says where the clips end, if the network hears much more; "" if not."""
    end = end_of_band(audio, examples)
    if end >= _MOST * audio.fmax:
        return ""
    return (
        f"nearly all clips end at {end:,.0f} Hz, and up to {audio.fmax:,.0f} is heard: what the network "
        "makes of the treble of other files is chance; a lower --set audio.fmax or another --preset leaves "
        "it out"
    )
