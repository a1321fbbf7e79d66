"""mer-label playlist: labels in, playlists out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import os_errors_say
from ..text.escape import for_terminal
from ..text.streams import print_err, print_out
from .command import (
    EXIT_FAILURE,
    EXIT_SOME_FAILED,
    SETTINGS,
    FiniteRange,
    QuietCommand,
    options_given,
    report_errors,
)
from .words import NAMED_PATH

if TYPE_CHECKING:
    from ..outputs.songs import Song

_INSTEAD = "move it, or name another folder"
_SHOWN = 10  # files
_JOURNEY = 20  # songs, where --limit says nothing


@click.command(cls=QuietCommand, context_settings=SETTINGS)
@click.argument("labels", type=NAMED_PATH, metavar="LABELS")
@click.argument("folder", type=NAMED_PATH, metavar="DIR")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["m3u8", "xspf", "nsp"]),
    default="m3u8",
    help="xspf: for VLC, which does not find names with # ? or % in an M3U8. nsp: Navidrome's smart "
    "playlists, which follow the tags that 'mer-label tag' writes, without --unsure, --sort and --journey.",
)
@click.option(
    "--model", "-m", metavar="NAME", help="Of several that labelled, the one to follow.  [default: the first]"
)
@click.option(
    "--min-confidence",
    type=FiniteRange(min=0, max=1),
    default=0.0,
    metavar="SHARE",
    help="Leave less certain songs out.",
)
@click.option("--unsure", is_flag=True, help="Take songs in whose verdict is unsure.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Songs in a playlist.  [default: all]")
@click.option(
    "--sort",
    "order",
    type=click.Choice(["confidence", "path", "artist"]),
    default="confidence",
    help="confidence: the surest first.",
)
@click.option(
    "--journey",
    metavar="FROM:TO",
    help="One playlist that leads from an emotion to another (20 songs, or --limit).",
)
@report_errors
def main(
    labels: str,
    folder: str,
    kind: str,
    model: str | None,
    min_confidence: float,
    unsure: bool,
    limit: int | None,
    order: str,
    journey: str | None,
) -> int:
    """Write a playlist for each emotion into DIR: Happy.m3u8 and so on.

    LABELS is a folder that 'mer-label --out FOLDER/' wrote. Entries are relative to DIR, so that music and
    playlists can move together. Songs that are not there now are left out and counted. Playlists that this
    command wrote before are replaced; files of others are not.

    \b
    Exit codes: 0 done, 1 failure, 2 wrong usage, 4 done but some
    files are not there.
    """
    from ..catalogue.output import refuse_inside_labels
    from ..outputs import playlists
    from ..outputs.marks import refuse_foreign
    from ..outputs.songs import Found, find, is_sure, songs_in

    names, songs = songs_in(labels, model)
    ends = _ends(journey, names)
    if kind == "nsp" and (ends or unsure or order != "confidence"):
        raise click.UsageError(
            "Navidrome chooses and sorts the songs of an .nsp: leave --journey, --unsure and --sort out"
        )
    if ends and options_given(["order"]):
        raise click.UsageError("--journey is an order itself: leave --sort out")
    refuse_inside_labels(folder)
    place = Path(folder)
    titles = playlists.names_of_playlists(names)
    if kind == "nsp":
        paths = [place / f"{titles[label]}.nsp" for label in names]
        for path in paths:
            refuse_foreign(path, playlists.is_playlist, _INSTEAD)
        _make(place)
        for label, path in zip(names, paths, strict=True):
            playlists.write_nsp(path, titles[label], label, min_confidence, limit or 0)
            print_out(str(path))
        _name_others(place, kind, titles.values())
        return 0

    entry_of = playlists.entries_from(place)
    left_out: Counter[str] = Counter()
    chosen: list[tuple[str, Song]] = []
    for song in songs:
        if song.emotion is None or (ends and not song.shares):
            left_out["without a label"] += 1
        elif not is_sure(song, min_confidence, unsure):
            left_out["not sure enough"] += 1
        else:
            found, path = find(song)
            if found in (Found.MISSING, Found.REMOTE):
                left_out[found.value] += 1
            elif (entry := entry_of(path)) is None:
                left_out["with the end of a line in their names"] += 1
            else:
                chosen.append((entry, song))
    chosen.sort(key=_KEYS[order])
    if ends:
        start, end = ends
        shares = [song.shares for _, song in chosen]
        steps = playlists.journey(shares, names.index(start), names.index(end), limit or _JOURNEY)
        lists = {f"{titles[start]} to {titles[end]}": [chosen[step] for step in steps]}
    else:
        lists = {titles[name]: [each for each in chosen if each[1].emotion == name] for name in names}
    all_are_away, is_new = not chosen and left_out[Found.MISSING.value] > 0, not place.exists()
    for title in lists:  # before the first one is written
        refuse_foreign(place / f"{title}.{kind}", playlists.is_playlist, _INSTEAD)
    write = playlists.write_xspf if kind == "xspf" else playlists.write_m3u8
    written = not_for_vlc = 0
    for title, entries in lists.items():
        path = place / f"{title}.{kind}"
        entries = entries[:limit]
        if entries or (path.exists() and not all_are_away):  # an emotion that no song has any more
            _make(place)
            write(path, title, entries)
            print_out(f"{path}\t{len(entries)}")
            written += 1
            not_for_vlc += sum(bool(playlists.NOT_FOR_VLC.search(entry)) for entry, _ in entries)
    if written:
        _name_others(place, kind, titles.values())
    if not_for_vlc and kind == "m3u8":
        what = "song has" if not_for_vlc == 1 else "songs have"
        print_err(
            f"{not_for_vlc} {what} # ? or % in the path, which VLC does not find in an M3U8: --format xspf"
        )
    if not chosen:
        older = ": those that are there stay as they are" if all_are_away and not is_new else ""
        print_err(f"no song is left for a playlist{older}")
    if reasons := [f"{count} {reason}" for reason, count in left_out.items() if count]:
        print_err(f"left out: {', '.join(reasons)}")
    if not written:
        return EXIT_FAILURE
    return EXIT_SOME_FAILED if left_out[Found.MISSING.value] else 0


def _make(place: Path) -> None:
    with os_errors_say(f"{place} cannot be made"):
        place.mkdir(parents=True, exist_ok=True)


def _in_order(path: str) -> tuple[list[str | int], str]:
    """A key by which numbers in paths are in the order of numbers, as on the page."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path)], path


_KEYS = {
    "confidence": lambda each: -(each[1].confidence or 0.0),
    "path": lambda each: _in_order(each[1].path),
    "artist": lambda each: ((each[1].artist or "").casefold(), _in_order(each[1].path)),
}


def _name_others(place: Path, kind: str, titles: Iterable[str]) -> None:
    from ..outputs.playlists import of_other_labels

    if others := of_other_labels(place, f".{kind}", titles):
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        are, them = ("is", "it") if len(others) == 1 else ("are", "them")
        names = for_terminal(", ".join(others[:_SHOWN]))
        print_err(f"{names}{more} {are} of other labels: remove {them}, or write to another folder")


def _ends(journey: str | None, labels: tuple[str, ...]) -> tuple[str, str] | None:
    """The two labels of --journey; labels may hold colons."""
    if journey is None:
        return None
    ends = [
        (start, end) for start in labels for end in labels if start != end and f"{start}:{end}" == journey
    ]
    if not ends:
        raise click.UsageError(f"--journey is FROM:TO, two of {', '.join(labels)}")
    return ends[0]
